"""What is particular to a durable run in this sandbox: loose calls, limits, versions."""

from __future__ import annotations

import anyio
import pytest
from enclave_broker_quickjs.checkpoints import Checkpoint

from enclave_broker_core.errors import DeadlineExceededError, ResultTooLargeError, RunError
from enclave_broker_core.models import SessionLimits
from enclave_broker_core.testing.hosts import RecordingHost

pytestmark = pytest.mark.anyio


async def stopped(quickjs, code: str, *, calls: int, **config) -> RecordingHost:
    """A host that has seen so many calls of a run, which was stopped then."""
    host = RecordingHost(durable=True)
    async with (
        quickjs(**config) as runtime,
        runtime.session(host) as session,
        anyio.create_task_group() as group,
    ):
        group.start_soon(session.run, code)
        await host.called(calls)
        group.cancel_scope.cancel()
    return host


async def resumed(quickjs, state: bytes, limits: SessionLimits | None = None, **config):
    host = RecordingHost(limits, durable=True)
    host.release.set()
    async with quickjs(**config) as runtime, runtime.session(host, state) as session:
        return await session.resume(), host


async def test_a_call_that_is_not_awaited_yet_begins_at_the_next_wait(quickjs) -> None:
    code = """
const loose = tools.test.echo({value: "loose"});
console.log("computed");
const first = await tools.test.wait();
return [first, await loose];
"""
    host = await stopped(quickjs, code, calls=2)
    assert [entry[0] for entry in host.log] == ["stdout", "checkpoint", "call", "call"]
    assert len(host.log[1][1]) == 2
    value, other = await resumed(quickjs, host.states[0])
    assert value == ["released", "loose"]
    assert other.printed == ""


async def test_each_line_is_printed_by_itself_so_that_it_can_be_told_again(quickjs) -> None:
    host = RecordingHost(durable=True)
    async with quickjs() as runtime, runtime.session(host) as session:
        await session.run(
            "for (let n = 0; n < 50; n++) console.log(n); await tools.test.add({a: 1, b: 2})"
        )
    assert host.log[:50] == [("stdout", f"{n}\n") for n in range(50)]


async def test_outcomes_are_taken_in_as_they_came(quickjs, host) -> None:
    code = """
const told = async (name, args) => console.log(await callTool(name, args));
await Promise.all([told("test:meet", {count: 2}), told("test:echo", {value: "quick"}),
                   told("test:meet", {count: 2})]);
"""
    async with quickjs() as runtime, runtime.session(host) as session:
        await session.run(code)
    assert host.printed.splitlines()[0] == "quick"


async def test_limits_go_on_where_they_were(quickjs) -> None:
    code = """
console.log("x".repeat(600));
const until = Date.now() + 50; while (Date.now() < until);
await tools.test.echo({value: 1});
await tools.test.wait();
const what = await tools.test.echo({value: "what"});
WHAT
"""
    host = await stopped(
        quickjs, code.replace("WHAT", "for (;;);"), calls=2, max_processor_time=0.5
    )
    saved = host.states[1]
    with pytest.raises(RunError, match="limit of 2 tool calls"):
        await resumed(quickjs, saved, max_calls=2)
    assert Checkpoint.from_bytes(saved, _build(saved)).seconds < 0.49
    with pytest.raises(DeadlineExceededError):
        await resumed(quickjs, saved)
    host = await stopped(quickjs, code.replace("WHAT", "console.log('y'.repeat(600))"), calls=2)
    with pytest.raises(ResultTooLargeError, match="printed more than 1000"):
        await resumed(quickjs, host.states[1], SessionLimits(max_output_bytes=1000))


def _build(saved: bytes) -> bytes:
    return bytes.fromhex(saved.partition(b'"build":"')[2][:64].decode())


async def test_a_checkpoint_of_another_version_is_refused(quickjs) -> None:
    host = await stopped(quickjs, "await tools.test.wait()", calls=1)
    build = _build(host.states[0]).hex().encode()
    other = host.states[0].replace(build, build[::-1])
    async with quickjs() as runtime:
        with pytest.raises(RunError, match="another version"):
            async with runtime.session(RecordingHost(durable=True), other):
                pass


async def test_random_numbers_of_two_lives_differ(quickjs) -> None:
    host = await stopped(quickjs, "await tools.test.wait(); return Math.random()", calls=1)
    values = {(await resumed(quickjs, host.states[0]))[0] for _ in range(3)}
    assert len(values) == 3
