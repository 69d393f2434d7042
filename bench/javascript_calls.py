"""Each further awaited call of sandboxed code: JavaScript in QuickJS against Python in Monty.

One run makes all the calls of a turn, in a session that is open already; they go through the
whole pipeline and are recorded, and in ``plugin`` are answered by the floor's handler.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from brokered_call import Case, broker
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.runtime import open_monty
from enclave_broker_quickjs.config import QuickJSConfig
from enclave_broker_quickjs.runtime import open_quickjs
from javascript import BACKENDS, CONTEXT
from sandboxed import WORKERS, Host

TITLE = "JavaScript: each further awaited call in QuickJS, against one in Monty"
BARS = {"QuickJS, broker": 0.5}
TIMES = 400
TURNS = 5

__all__ = ["BACKENDS", "BARS", "TIMES", "TITLE", "TURNS", "cases"]

PYTHON = 'for n in range(%d):\n    await call_tool("users:get", {"id": n})'
JAVASCRIPT = 'for (let n = 0; n < %d; n++) await callTool("users:get", {id: n})'


def running(run: Callable[[str], Awaitable[Any]], code: str) -> Case:
    async def case(n: int) -> None:
        await run(code % n)

    return case


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    monty, quickjs = MontyConfig(workers=WORKERS), QuickJSConfig(workers=WORKERS)
    async with (
        broker(None, runtime=open_monty(monty, CONTEXT)) as python,
        broker(None, runtime=open_quickjs(quickjs, CONTEXT)) as javascript,
        python.session() as of_python,
        javascript.session() as of_javascript,
        open_monty(monty, CONTEXT) as monty_alone,
        open_quickjs(quickjs, CONTEXT) as quickjs_alone,
        monty_alone.session(Host()) as python_alone,
        quickjs_alone.session(Host()) as javascript_alone,
    ):
        yield {
            "Monty, broker": running(of_python.run, PYTHON),
            "QuickJS, broker": running(of_javascript.run, JAVASCRIPT),
            "Monty, plugin": running(python_alone.run, PYTHON),
            "QuickJS, plugin": running(javascript_alone.run, JAVASCRIPT),
        }
