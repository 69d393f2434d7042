"""A whole session of one sandboxed call: JavaScript in QuickJS against Python in Monty.

As ``broker`` of ``sandboxed``: the session is created and recorded, executes code as its last
act, its call passes the pipeline, and it ends with its final event. ``plugin`` is the runtime's
session alone, its ratio to the whole of Monty's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from brokered_call import Case, broker
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.runtime import open_monty
from enclave_broker_quickjs.config import QuickJSConfig
from enclave_broker_quickjs.runtime import open_quickjs
from sandboxed import CODE, WORKERS, Host

from enclave_broker_core import Broker
from enclave_broker_core.contracts import OpenContext, Runtime

TITLE = "JavaScript: a session of one call in QuickJS, against one in Monty"
BARS = {"QuickJS, broker": 1.0}
# Long turns: the last worker is given back in the turn of the next.
TIMES = 25
TURNS = 4
BACKENDS = ("asyncio",)

SCRIPT = 'return await callTool("users:get", {id: 1})'
CONTEXT = OpenContext("runtime")


def whole(made: Broker, code: str) -> Case:
    async def case(n: int) -> None:
        for _ in range(n):
            async with made.session() as session:
                (await session.execute(code)).unwrap()

    return case


def alone(runtime: Runtime, code: str) -> Case:
    host = Host()

    async def case(n: int) -> None:
        for _ in range(n):
            async with runtime.session(host) as session:
                await session.run(code, last=True)

    return case


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    monty, quickjs = MontyConfig(workers=WORKERS), QuickJSConfig(workers=WORKERS)
    async with (
        broker(None, runtime=open_monty(monty, CONTEXT)) as python,
        broker(None, runtime=open_quickjs(quickjs, CONTEXT)) as javascript,
        open_monty(monty, CONTEXT) as monty_alone,
        open_quickjs(quickjs, CONTEXT) as quickjs_alone,
    ):
        yield {
            "Monty, broker": whole(python, CODE),
            "QuickJS, broker": whole(javascript, SCRIPT),
            "Monty, plugin": alone(monty_alone, CODE),
            "QuickJS, plugin": alone(quickjs_alone, SCRIPT),
        }
