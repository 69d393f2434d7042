"""What is particular to a durable run in this sandbox: sleeps, loose calls, versions."""

from __future__ import annotations

import time

import anyio
import pytest
from enclave_broker_monty import checkpoints

from enclave_broker_core.errors import RunError
from enclave_broker_core.testing.hosts import RecordingHost

pytestmark = pytest.mark.anyio


async def stopped(monty, code: str, *, calls: int = 0) -> RecordingHost:
    """A host that has seen a checkpoint and so many calls of a run, which was stopped then."""
    host = RecordingHost(durable=True)
    async with (
        monty() as runtime,
        runtime.session(host) as session,
        anyio.create_task_group() as group,
    ):
        group.start_soon(session.run, code)
        await host.called(calls)
        await host.kept()
        group.cancel_scope.cancel()
    return host


async def resumed(monty, state: bytes):
    host = RecordingHost(durable=True)
    host.release.set()
    async with monty() as runtime, runtime.session(host, state) as session:
        return await session.resume(), host


@pytest.mark.parametrize(
    ("sleep", "value"),
    [
        ("await asyncio.sleep(0.3, (1, 'slept'))", [1, "slept"]),
        ("await asyncio.sleep(0.3)", None),
        ("time.sleep(0.3)", None),
    ],
)
async def test_a_sleep_ends_when_it_would_have_ended(monty, sleep, value) -> None:
    host = await stopped(monty, f"import asyncio\nimport time\n{sleep}")
    ends = time.time() + 0.3
    assert host.log == [("checkpoint", ())]
    assert (await resumed(monty, host.states[0]))[0] == value
    assert time.time() < ends + 5
    awaited = checkpoints.Checkpoint.from_bytes(host.states[0]).awaited
    assert [one.ends for one in awaited] == [pytest.approx(ends, abs=2)]


async def test_a_call_that_is_not_awaited_yet_begins_at_the_next_wait(monty) -> None:
    code = """
loose = call_tool("test:echo", {"value": "loose"})
print("computed")
first = await call_tool("test:wait")
[first, await loose]
"""
    host = await stopped(monty, code, calls=2)
    assert [entry[0] for entry in host.log] == ["stdout", "checkpoint", "call", "call"]
    assert len(host.log[1][1]) == 2
    value, other = await resumed(monty, host.states[0])
    assert value == ["released", "loose"]
    assert other.printed == ""


async def test_a_blocking_sleep_keeps_the_calls_beside_it(monty) -> None:
    code = """
import time
loose = call_tool("test:wait")
time.sleep(0.2)
await loose
"""
    host = await stopped(monty, code, calls=1)
    assert len(host.states) == 1
    value, other = await resumed(monty, host.states[0])
    assert (value, [name for name, _ in other.calls]) == ("released", ["test:wait"])


async def test_arguments_are_the_same_in_both_lives(monty) -> None:
    code = """
import datetime
await call_tool("test:wait")
await call_tool("test:echo", {"value": [(1, 2), datetime.date(2026, 1, 2)]})
"""
    host = await stopped(monty, code, calls=1)
    host.release.set()
    value, other = await resumed(monty, host.states[0])
    assert value == [[1, 2], "2026-01-02"]
    again = await resumed(monty, other.states[0])
    assert (again[0], again[1].calls) == (value, other.calls[1:])


async def test_arguments_that_are_no_json_are_refused_where_the_call_is_made(monty) -> None:
    host = RecordingHost(durable=True)
    code = """
try:
    call_tool("test:echo", {"value": float("nan")})
except ToolError as error:
    code = tool_error(error).code
code
"""
    async with monty() as runtime, runtime.session(host) as session:
        assert await session.run(code) == "VALIDATION_ERROR"
    assert host.log == []


async def test_outcomes_are_taken_in_as_they_came(monty) -> None:
    """The order in which code goes on is that of the outcomes, so that it can be repeated."""
    code = """
import asyncio

async def told(n):
    print(await call_tool("test:echo", {"value": n}))

await asyncio.gather(*[told(n) for n in range(8)])
"""
    host = RecordingHost(durable=True)
    async with monty() as runtime, runtime.session(host) as session:
        await session.run(code)
    assert host.printed == "".join(
        f"{n}\n" for _, arguments in host.calls for n in [arguments["value"]]
    )


async def test_tools_that_were_imported_before_are_there(monty) -> None:
    code = """
from tools import test_add
await call_tool("test:wait")
from tools import test_echo
[await test_add(1, 2), await test_echo("echo")]
"""
    host = await stopped(monty, code, calls=1)
    assert (await resumed(monty, host.states[0]))[0] == [3, "echo"]


async def test_a_checkpoint_of_another_version_is_refused(monty, monkeypatch) -> None:
    host = await stopped(monty, 'await call_tool("test:wait")', calls=1)
    state = host.states[0].replace(b'"monty":"1', b'"monty":"0')
    async with monty() as runtime:
        with pytest.raises(RunError, match="saved by pydantic-monty 0"):
            async with runtime.session(RecordingHost(durable=True), state):
                pass


async def test_the_prelude_is_there_in_a_resumed_run(monty) -> None:
    code = """
await call_tool("test:wait")
try:
    await call_tool("test:fail", {"message": "no luck"})
except ToolError as error:
    told = tool_error(error).message
told
"""
    host = await stopped(monty, code, calls=1)
    other = RecordingHost(durable=True)
    other.release.set()
    async with monty() as runtime, runtime.session(other, host.states[0]) as session:
        assert await session.resume() == "no luck"
        assert await session.run("tool_error(RuntimeError('A: b')).code") == "A"
