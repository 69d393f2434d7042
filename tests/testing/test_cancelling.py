"""Cancelled at each of its steps, a call leaves a broker in order; what does not is found."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from enclave_broker_core.testing.cancelling import Step, cancel_at_each_step
from enclave_broker_core.testing.fakes import ClockedLimiter, ScriptedPolicy
from enclave_broker_core.testing.faults import Faults, dawdles
from enclave_broker_core.testing.harness import open_harness
from enclave_broker_core.testing.offered import Offered
from enclave_broker_core.testing.scripted_tools import ScriptedProvider, progresses

pytestmark = pytest.mark.anyio


async def three_steps() -> str:
    for _ in range(3):
        await checkpoint()
    return "done"


async def test_each_wait_is_cancelled_once() -> None:
    seen: list[Step] = []

    async def after(step: Step) -> None:
        seen.append(step)

    steps = await cancel_at_each_step(three_steps, after)
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))
    assert len(steps) >= 3
    assert {step.ended for step in steps} == {"cancelled"}
    assert seen == steps


async def test_what_shields_itself_answers_and_what_fails_says_so() -> None:
    async def shielded() -> None:
        with anyio.CancelScope(shield=True):
            await checkpoint()

    async def turns_it_into_an_error() -> None:
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class():
            raise OSError("interrupted") from None

    assert {step.ended for step in await cancel_at_each_step(shielded)} == {"answered"}
    steps = await cancel_at_each_step(turns_it_into_an_error)
    assert {step.ended for step in steps} == {"failed"}
    assert [str(step.error) for step in steps] == ["interrupted"] * len(steps)


async def test_an_attempt_that_fails_by_itself_is_raised() -> None:
    async def broken() -> None:
        await checkpoint()
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await cancel_at_each_step(broken)


async def test_one_that_never_ends_is_given_up() -> None:
    async def endless() -> None:
        while True:
            await checkpoint()

    with pytest.raises(AssertionError, match="more than 20 times"):
        await cancel_at_each_step(endless, most=20)


async def test_a_task_that_is_left_behind_is_found() -> None:
    async with anyio.create_task_group() as others:

        async def leaves_one() -> None:
            others.start_soon(anyio.sleep_forever)
            await checkpoint()

        with pytest.raises(AssertionError):
            await cancel_at_each_step(leaves_one)
        others.cancel_scope.cancel()


def scripted() -> tuple[Offered, dict[str, Any], ScriptedProvider]:
    provider = ScriptedProvider()
    provider.add("t", progresses("sending", "receiving", then="done"))
    offered = Offered(
        access={"scripted": ScriptedPolicy()},
        limiter={"clocked": ClockedLimiter()},
        tools={"scripted": provider},
    )
    config = {
        "plugins": ["memory"],
        "access": {"use": "scripted"},
        "rate_limit": {
            "per_session": {"max_calls": 1000, "window": 60},
            "backend": {"use": "clocked"},
        },
        "tools": [{"use": "scripted"}],
    }
    return offered, config, provider


async def test_a_call_cancelled_at_any_step_is_recorded_and_the_session_goes_on() -> None:
    offered, config, provider = scripted()
    faults = Faults()
    faults.on("append", dawdles(2, shielded=True))  # as one does that is on another machine
    async with (
        open_harness(config, offered, faults={"store": faults}) as harness,
        harness.broker.session() as session,
    ):

        async def after(step: Step) -> None:
            assert not session.busy
            assert provider["t"].running == 0
            ids: dict[str, list[str]] = {"tool_call": [], "tool_result_applied": []}
            for event in await harness.events(session.id):
                if event.type in ids:
                    ids[event.type].append(event.payload["callId"])
            assert ids["tool_call"] == ids["tool_result_applied"]
            assert len(await session.history()) == len(ids["tool_call"]) == step.number

        steps = await cancel_at_each_step(lambda: session.call("t"), after)
        outcomes = [record.outcome for record in await session.history()]
    assert len(steps) >= 8
    assert outcomes[0] == "cancelled"
    assert outcomes[-1] == "ok"
    assert outcomes == sorted(outcomes)  # past a certain step, it has been done


async def test_opening_and_closing_cancelled_at_any_step_leave_nothing() -> None:
    """``open_harness`` looks at what is left; only what it reports is an error here."""
    lives: list[list[tuple[str, str]]] = []

    async def attempt() -> None:
        offered, config, _ = scripted()
        async with open_harness(config, offered) as harness:
            lives.append(harness.lives.happened)
            assert (await harness.call("t")).unwrap() == "done"

    steps = await cancel_at_each_step(attempt)
    assert {step.ended for step in steps} <= {"cancelled", "answered"}
    assert len(steps) >= 10
    for happened in lives:
        opened = sorted(place for what, place in happened if what == "opened")
        assert sorted(place for what, place in happened if what == "closed") == opened
