"""Faults go wrong where they were told to, and a broker does about them what it promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from enclave_broker_core import (
    PluginError,
    SecretError,
    StoreError,
    ToolCall,
)
from enclave_broker_core.contracts import AccessPolicy, CallNext
from enclave_broker_core.testing.fakes import (
    ClockedLimiter,
    KnownSecrets,
    RecordingSink,
    ScriptedPolicy,
)
from enclave_broker_core.testing.faults import (
    Faults,
    answers,
    fails,
    hangs,
    loses_answer,
)
from enclave_broker_core.testing.gates import Gate
from enclave_broker_core.testing.harness import BrokerHarness, open_harness
from enclave_broker_core.testing.offered import Offered
from enclave_broker_core.testing.scripted_tools import ScriptedProvider

pytestmark = pytest.mark.anyio

HIDDEN = "the-value-of-it"


class World:
    """A broker of scripted parts with one tool, of which one part goes wrong."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.provider = ScriptedProvider()
        self.tool = self.provider.add("t", "done", secrets=["KEY"])
        self.sink = RecordingSink()

    @asynccontextmanager
    async def open(self, place: str, **rates: Any) -> AsyncIterator[BrokerHarness]:
        offered = Offered(
            access={"scripted": ScriptedPolicy()},
            limiter={"clocked": ClockedLimiter()},
            secrets={"known": KnownSecrets({"KEY": HIDDEN})},
            sink={"recording": self.sink},
            tools={"scripted": self.provider},
        )
        config = {
            "plugins": ["memory"],
            "access": {"use": "scripted"},
            "rate_limit": {
                "per_session": {"max_calls": 9, "window": 60},
                "backend": {"use": "clocked"},
                **rates,
            },
            "secrets": [{"use": "known"}],
            "sinks": [{"use": "recording"}],
            "tools": [{"use": "scripted"}],
        }
        with anyio.fail_after(30):
            async with open_harness(config, offered, faults={place: self.faults}) as harness:
                yield harness


@pytest.fixture
def world() -> World:
    return World()


def of(kind: str) -> Any:
    """Whether an event that is appended is of this kind."""
    return lambda session_id, event, *rest: event[0] == kind


async def test_a_store_that_fails_has_no_tool_run(world: World) -> None:
    world.faults.on("append", fails(StoreError("gone")), where=of("tool_call"))
    async with world.open("store") as harness:
        outcome = await harness.call("t")
        assert (outcome.code, world.tool.calls) == ("STORE_UNAVAILABLE", [])
        assert outcome.record is not None
        assert outcome.record.outcome == "error"
        assert world.faults.struck == ["append"]
        world.faults.clear()
        assert (await harness.call("t")).unwrap() == "done"


async def test_a_store_that_loses_its_answer_has_done_what_was_asked(world: World) -> None:
    world.faults.on("append", loses_answer(StoreError("gone")), where=of("tool_call"))
    async with world.open("store") as harness, harness.broker.session() as session:
        outcome = await harness.call("t", session=session)
        assert outcome.code == "STORE_UNAVAILABLE"
        assert [event.type for event in await harness.events(session.id)] == [
            "session_init",
            "tool_call",
            "tool_result_applied",
        ]
        assert world.tool.calls == []


async def test_the_so_manieth_call_goes_wrong_and_no_other(world: World) -> None:
    world.faults.on("append", fails(StoreError("gone")), where=of("tool_call"), at=(2, 4))
    async with world.open("store") as harness, harness.broker.session() as session:
        codes = [(await harness.call("t", session=session)).code for _ in range(5)]
    assert codes == ["ok", "STORE_UNAVAILABLE", "ok", "STORE_UNAVAILABLE", "ok"]


async def test_a_store_that_hangs_is_waited_for_and_a_cancelled_call_with_it(
    world: World,
) -> None:
    gate = Gate()
    world.faults.on("append", hangs(gate, shielded=True), where=of("tool_result_applied"))
    async with world.open("store") as harness, harness.broker.session() as session:
        called = anyio.CancelScope()

        async def call() -> None:
            with called:
                await session.call("t")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await gate.reached()
            called.cancel()
            await anyio.wait_all_tasks_blocked()
            assert session.busy
            gate.open()
        assert not session.busy
        assert [record.outcome for record in await session.history()] == ["ok"]


async def test_a_configuration_among_the_files_beside_it_is_a_mistake_of_the_test() -> None:
    with pytest.raises(ValueError, match="give its text as such"):
        async with open_harness(files={"broker.toml": "[limits]\ntimeout = 7\n"}):
            pytest.fail("it opened")


async def test_a_limiter_that_fails_refuses(world: World) -> None:
    world.faults.on("acquire", fails(OSError("out of reach")))
    async with world.open("rate_limit.backend") as harness:
        outcome = await harness.call("t")
        assert (outcome.code, world.tool.calls) == ("PLUGIN_ERROR", [])
        assert "out of reach" in outcome.error.message if outcome.error else False
        assert harness.logged(logger="enclave_broker_core") == [
            "the limiter failed, so this call is refused: out of reach"
        ]


async def test_a_limiter_that_fails_lets_pass_when_it_was_told_so(world: World) -> None:
    world.faults.on("acquire", fails(OSError("out of reach")))
    async with world.open("rate_limit.backend", on_error="allow") as harness:
        assert (await harness.call("t")).unwrap() == "done"


@pytest.mark.parametrize(
    "fault", [fails(KeyError("x")), answers(True), answers(None), loses_answer(OSError())]
)
async def test_a_policy_that_fails_or_decides_nothing_refuses(world: World, fault: Any) -> None:
    world.faults.on("decide", fault)
    async with world.open("access") as harness:
        outcome = await harness.call("t")
        assert (outcome.code, world.tool.calls) == ("ACCESS_DENIED", [])
        assert harness.audit[1]["decision"] == "deny"


async def test_a_policy_that_hangs_holds_up_its_call_and_no_other(world: World) -> None:
    gate = Gate()
    world.provider.add("u", "other")
    world.faults.on("decide", hangs(gate), where=lambda request: request.tool == "t")
    async with world.open("access") as harness, harness.broker.session() as session:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.call, "t")
            await gate.reached()
            assert (await harness.call("u", session=session)).unwrap() == "other"
            assert world.tool.calls == []
            gate.open()
        assert len(world.tool.calls) == 1


async def test_a_sink_that_fails_changes_no_answer(world: World) -> None:
    world.faults.on("observe", fails(OSError("full")), at=2)
    async with world.open("sinks[0]") as harness:
        assert (await harness.call("t")).unwrap() == "done"
        await world.faults.called("observe", 3)
    assert harness.logged() == ["the event sink RecordingSink failed"]
    assert world.sink.calls == []
    assert len(harness.observations) == 3


async def test_an_audit_log_that_fails_is_the_call_s_error(world: World) -> None:
    world.faults.on("observe", fails(OSError("full")), at=2)
    async with world.open("audit") as harness:
        outcome = await harness.call("t")
        assert (outcome.code, outcome.observation) == ("PLUGIN_ERROR", None)
        assert [entry["event"] for entry in harness.audit] == ["session_started", "session_ended"]


async def test_a_call_that_no_audit_log_heard_of_has_its_result_all_the_same(world: World) -> None:
    world.faults.on("observe", answers(None))
    async with world.open("audit") as harness:
        outcome = await harness.call("t")
        assert (outcome.unwrap(), outcome.observation, outcome.events) == ("done", None, ())


async def test_a_provider_that_fails_at_the_start_stops_it(world: World) -> None:
    world.faults.on("tools", fails(OSError("out of reach")))
    with pytest.raises(OSError, match="out of reach"):
        async with world.open("tools[0]"):
            pytest.fail("it opened")


async def test_a_provider_that_fails_later_keeps_its_tools(world: World) -> None:
    world.faults.on("watch", fails(OSError("out of reach")))
    async with world.open("tools[0]") as harness:
        await world.faults.called("watch")
        await anyio.wait_all_tasks_blocked()
        assert harness.logged() == ["the tools of scripted are not kept fresh any more"]
        assert (await harness.call("t")).unwrap() == "done"


async def test_a_secret_source_that_fails_is_the_call_s_error(world: World) -> None:
    world.faults.on("get", fails(SecretError("the vault is out of reach")))
    async with world.open("secrets[0]") as harness:
        outcome = await harness.call("t")
        assert (outcome.code, world.tool.calls) == ("SECRET_ERROR", [])


async def test_a_part_that_does_not_open_is_named(world: World) -> None:
    world.faults.on("open", fails(OSError("out of reach")))
    with pytest.raises(PluginError) as caught:
        async with world.open("access"):
            pytest.fail("it opened")
    assert caught.value.message == (
        "access: plugin 'Offered' of the program: access (scripted) did not open:"
        " OSError: out of reach"
    )


async def test_a_part_whose_opening_loses_its_answer_is_closed_again() -> None:
    happened: list[str] = []

    @asynccontextmanager
    async def policy() -> AsyncIterator[AccessPolicy]:
        happened.append("opened")
        try:
            yield ScriptedPolicy()
        finally:
            happened.append("closed")

    faults = Faults()
    faults.on("open", loses_answer(OSError("gone")))
    offered = Offered(access={"scripted": policy()})
    config = {"plugins": ["memory"], "access": {"use": "scripted"}}
    with pytest.raises(PluginError, match="gone"):
        async with open_harness(config, offered, faults={"access": faults}):
            pytest.fail("it opened")
    assert happened == ["opened", "closed"]


async def test_middleware_has_faults_too() -> None:
    async def passes_on(call: ToolCall, call_next: CallNext) -> Any:
        return await call_next(call)

    faults = Faults()
    faults.on("__call__", fails(OSError("broken")), where=lambda call, call_next: call.name == "t")
    provider = ScriptedProvider()
    provider.add("t", 1)
    provider.add("u", 2)
    offered = Offered(middleware={"own": passes_on}, tools={"scripted": provider})
    config = {
        "plugins": ["memory"],
        "middleware": [{"use": "own"}],
        "tools": [{"use": "scripted"}],
    }
    async with open_harness(config, offered, faults={"middleware[0]": faults}) as harness:
        assert (await harness.call("t")).code == "TOOL_ERROR"
        assert (await harness.call("u")).unwrap() == 2
