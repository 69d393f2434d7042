"""A broker that dies at any moment of a durable run, and what another makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from durable_world import World, in_doubt, require_consistent, require_outcome
from enclave_broker_monty.config import MontyConfig
from enclave_broker_monty.runtime import open_monty
from step_runtime import StepRuntime

from enclave_broker_core import Event, Session
from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import SessionLostError

pytestmark = pytest.mark.anyio

STEPS = json.dumps(
    [
        ["print", "one\n"],
        ["calls", [["read", {"n": 1}], ["pay", {"n": 1}], ["read", {"n": 2}]]],
        ["print", "two\n"],
        ["calls", [["fail", {}]]],
        ["calls", [["pay", {"n": 2}], ["read", {"n": 3}]]],
        ["print", "three\n"],
    ]
)

PYTHON = """
import asyncio

async def told(name, n):
    found = await call_tool(name, {"n": n})
    print(name, found)
    return found

print("one")
first = await asyncio.gather(told("read", 1), told("pay", 1), told("read", 2))
print("two")
try:
    await call_tool("fail")
except ToolError as error:
    print(tool_error(error).code)
await asyncio.sleep(0.001)
later = call_tool("pay", {"n": 2})
second = [await told("read", 3), await later]
print("three")

async def chain():
    return [await told("read", 4), await told("read", 5)]

third = await asyncio.gather(call_tool("pay_slowly"), chain())
[first, second, third]
"""


def monty() -> Any:
    return open_monty(MontyConfig(workers=2), OpenContext("runtime"))


RUNTIMES = [
    pytest.param("asyncio", StepRuntime, STEPS, id="asyncio-steps"),
    pytest.param("trio", StepRuntime, STEPS, id="trio-steps"),
    pytest.param("asyncio", monty, PYTHON, id="asyncio-python"),
]


async def undisturbed(world: World, code: str) -> tuple[list[Event], int]:
    """The log of a run that nothing happens to, and how many writes it takes."""
    async with world.broker() as (broker, store):
        session = await broker.create_session(durable=True)
        store.count()
        await session.begin(code, last=True)
        log = await world.until_final(session.id)
        assert store.writes is not None
        return log, store.writes


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("anyio_backend", "runtime", "code"), RUNTIMES)
async def test_another_goes_on_wherever_the_first_died(
    runtime: Callable[[], Any], code: str, after: bool
) -> None:
    with anyio.fail_after(30):
        whole, writes = await undisturbed(World(runtime), code)
        assert whole[-1].payload["ok"]
        outcomes = [
            await dies(World(runtime), code, whole, moment, after=after)
            for moment in range(1 if after else 2, writes + 1)
        ]
    # Most moments put nothing in doubt, and some do.
    assert 0 < outcomes.count(False) < writes / 2


async def dies(world: World, code: str, whole: list[Event], moment: int, *, after: bool) -> bool:
    """Let the first broker die at one of its writes; whether the run ended well all the same."""
    async with (
        world.broker() as (other, _),
        world.broker() as (broker, store),
        anyio.create_task_group() as tasks,
    ):
        session = await broker.create_session(durable=True)
        store.count(moment, after=after)
        tasks.start_soon(begin, session, code)
        await store.died.wait()
        doubt = in_doubt(await world.log(session.id))
        log = await world.until_final(session.id)
        assert world.backend.states == {}
        assert (await other.get_session(session.id)).has_ended
        tasks.cancel_scope.cancel()
    require_consistent(log, world.ran)
    require_outcome(log, whole, doubt)
    ended: bool = log[-1].payload["ok"]
    return ended


async def begin(session: Session, code: str) -> None:
    with suppress(SessionLostError):
        await session.begin(code, last=True)
