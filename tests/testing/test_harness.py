"""The harness opens what a configuration says, tells what happened, and finds what is left."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from enclave_broker_core import (
    AccessDeniedError,
    CallFinished,
    ConfigError,
    OpenContext,
    Principal,
    SessionFinished,
    SessionStarted,
    ToolContext,
    ToolError,
    Verdict,
)
from enclave_broker_core.contracts import Component, NoConfig
from enclave_broker_core.hookspecs import hookimpl
from enclave_broker_core.testing.fakes import (
    KnownTokens,
    RecordingSink,
    ScriptedPolicy,
)
from enclave_broker_core.testing.faults import Faults
from enclave_broker_core.testing.harness import open_harness
from enclave_broker_core.testing.lives import Lives
from enclave_broker_core.testing.offered import Offered
from enclave_broker_core.testing.scripted_runtime import Code, ScriptedRuntime
from enclave_broker_core.testing.scripted_tools import ScriptedProvider, streams

pytestmark = pytest.mark.anyio

ADA = Principal(id="ada")
CONFIG = """
plugins = ["memory"]

[access]
use = "scripted"

[[tools]]
use = "scripted"
name = "crm"

[[tools]]
use = "python"
module = "more.py"

[[sinks]]
use = "recording"

[runtime]
use = "scripted"

[[authenticators]]
use = "tokens"
"""
MORE = """
import logging
from enclave_broker_core import ToolContext, tool

@tool("twice")
async def twice(ctx: ToolContext) -> list:
    logging.getLogger("more").warning("calling twice")
    return [await ctx.call("users:get", {"id": n}) for n in (1, 2)]
"""


class Parts:
    def __init__(self) -> None:
        self.policy = ScriptedPolicy()
        self.provider = ScriptedProvider()
        self.provider.add("users:get", {"name": "Ada"})
        self.runtime = ScriptedRuntime()
        self.offered = Offered(
            access={"scripted": self.policy},
            tools={"scripted": self.provider},
            sink={"recording": RecordingSink()},
            runtime={"scripted": self.runtime},
            authenticator={"tokens": KnownTokens({"x": ADA})},
        )


async def test_a_call_and_all_that_is_known_of_it() -> None:
    parts = Parts()
    async with open_harness(CONFIG, parts.offered, files={"more.py": MORE}) as harness:
        outcome = await harness.call("users:get", {"id": 1}, principal=ADA)
        assert outcome.unwrap() == {"name": "Ada"}
        assert outcome.code == "ok"
        assert [event.type for event in outcome.events] == ["tool_call", "tool_result_applied"]
        assert outcome.record is not None
        assert outcome.record.arguments == {"id": 1}
        assert outcome.decision is not None
        assert outcome.decision.rule == "scripted default"
        assert parts.policy.asked[0].principal == ADA
        parts.policy.say(Verdict.DENY, "users:*")
        refused = await harness.call("users:get", principal=ADA)
        assert (refused.code, refused.result) == ("ACCESS_DENIED", None)
        with pytest.raises(AccessDeniedError):
            refused.unwrap()
    assert [type(one) for one in harness.observations] == [
        SessionStarted,
        CallFinished,
        SessionFinished,
    ] * 2
    entries = [(entry["event"], entry.get("outcome")) for entry in harness.audit]
    assert entries == [
        ("session_started", None),
        ("call", "ok"),
        ("session_ended", None),
        ("session_started", None),
        ("call", "refused"),
        ("session_ended", None),
    ]


async def test_of_calls_within_calls_the_outer_one_is_told_of() -> None:
    async with open_harness(CONFIG, Parts().offered, files={"more.py": MORE}) as harness:
        outcome = await harness.call("twice")
        assert outcome.unwrap() == [{"name": "Ada"}] * 2
        assert outcome.record is not None
        assert outcome.record.tool == "twice"
        assert [event.type for event in outcome.events] == ["tool_call", "tool_result_applied"]
        assert len([one for one in harness.observations if isinstance(one, CallFinished)]) == 3
        assert harness.logged() == ["calling twice"]
        assert harness.logged(logger="more") == ["calling twice"]
        assert harness.logged(logger="mor") == harness.logged(logging.ERROR) == []


async def test_calls_at_once_are_told_apart() -> None:
    parts = Parts()
    parts.provider.add("parts", streams(1, 2))
    parts.provider.add("broken", ToolError("no luck"))
    async with open_harness(CONFIG, parts.offered, files={"more.py": MORE}) as harness:
        outcomes: dict[str, Any] = {}
        async with harness.broker.session() as session, anyio.create_task_group() as tasks:

            async def call(name: str) -> None:
                outcomes[name] = await harness.call(name, session=session)

            for name in ("parts", "users:get", "broken", "twice"):
                tasks.start_soon(call, name)
    assert {name: one.record.tool for name, one in outcomes.items()} == {
        name: name for name in outcomes
    }
    assert [event.type for event in outcomes["parts"].events] == [
        "tool_call",
        "partial_result",
        "partial_result",
        "tool_result_applied",
    ]
    assert outcomes["broken"].error.message == "no luck"


async def test_code_runs_and_the_parts_close_in_turn() -> None:
    parts = Parts()

    @parts.runtime.program
    async def greet(code: Code) -> Any:
        await code.print("hello")
        return await code.call("users:get", id=1)

    async with open_harness(CONFIG, parts.offered, files={"more.py": MORE}) as harness:
        outcome = await harness.broker.execute("greet")
        assert outcome.unwrap() == {"name": "Ada"}
        assert harness.part("runtime") is parts.runtime
        assert harness.setup.authenticators == (harness.part("authenticators[0]"),)
    assert harness.lives.opened == [
        "secrets[0]",
        "store",
        "audit",
        "sinks[0]",
        "access",
        "rate_limit.backend",
        "tools[0]",
        "tools[1]",
        "runtime",
        "authenticators[0]",
    ]
    assert [place for place in harness.lives.closed if place != "store"] == [
        place for place in reversed(harness.lives.opened) if place != "store"
    ]


async def test_a_reload_opens_the_parts_again() -> None:
    async with open_harness(CONFIG, Parts().offered, files={"more.py": MORE}) as harness:
        (harness.folder / "broker.toml").write_text(
            CONFIG.replace('use = "scripted"\nname', "name")
        )
        with pytest.raises(ConfigError, match=r"tools\[0\]\.use"):
            await harness.reload()
        (harness.folder / "broker.toml").write_text(
            CONFIG.replace('[runtime]\nuse = "scripted"', "")
        )
        await harness.reload()
        assert (await harness.call("users:get")).code == "ok"
    assert harness.lives.opened.count("tools[0]") == harness.lives.closed.count("tools[0]") == 2
    assert harness.lives.opened.count("runtime") == 1


async def test_a_mistake_in_the_text_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"broker\.toml:2: limits\.timout"):
        async with open_harness("[limits]\ntimout = 3\n"):
            pytest.fail("it opened")


async def test_a_configuration_is_a_mapping_or_a_file_too(tmp_path: Path) -> None:
    table = {"plugins": ["memory"], "tools": [{"use": "python", "module": "own.py"}]}
    own = "from enclave_broker_core import tool\n@tool('one')\ndef one() -> int:\n    return 1\n"
    async with open_harness(table, files={"own.py": own}) as harness:
        assert (await harness.call("one")).unwrap() == 1
    path = tmp_path / "broker.toml"
    path.write_text('plugins = ["memory"]\n[audit]\npath = "own.jsonl"\n')
    async with open_harness(path) as harness:
        assert (await harness.call("one")).code == "UNKNOWN_TOOL"
    assert '"UNKNOWN_TOOL"' in (tmp_path / "own.jsonl").read_text()
    async with open_harness(path, folder=tmp_path / "other") as harness:
        assert harness.folder == tmp_path / "other"


async def test_variables_of_whoever_runs_the_tests_do_not_count_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENCLAVE_BROKER__LIMITS__TIMEOUT", "7")
    for environment, timeout in ((False, 3600), (True, 7)):
        async with open_harness('plugins = ["memory"]\n', environment=environment) as harness:
            assert harness.broker.limits.timeout == timeout


async def test_a_place_without_a_part_is_a_mistake_of_the_test() -> None:
    with pytest.raises(
        ValueError, match=r"no part is at tools\[7\]; there are: secrets\[0\], store"
    ):
        async with open_harness({"plugins": ["memory"]}, faults={"tools[7]": Faults()}):
            pytest.fail("it opened")
    with pytest.raises(TypeError, match="no kind of part: acces"):
        Offered(acces={"mine": ScriptedPolicy()})


class Leaving:
    """A plugin whose sink leaves something behind when it closes."""

    def __init__(self, leave: Any) -> None:
        self._leave = leave

    @hookimpl
    def enclave_event_sinks(self) -> list[Component]:
        @asynccontextmanager
        async def opened(config: NoConfig, context: OpenContext) -> AsyncIterator[Any]:
            await self._leave()
            yield RecordingSink()

        return [Component("leaving", opened)]


LEAVING = {"plugins": ["memory"], "sinks": [{"use": "leaving"}]}


async def test_a_thread_that_is_left_behind_is_found() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten")

    async def leave() -> None:
        thread.start()

    try:
        with pytest.raises(AssertionError, match="threads are left behind: forgotten"):
            async with open_harness(LEAVING, Leaving(leave)):
                pass
    finally:
        end.set()
        thread.join()


async def test_a_task_that_is_left_behind_is_found() -> None:
    async with anyio.create_task_group() as others:

        async def leave() -> None:
            others.start_soon(anyio.sleep_forever, name="forgotten")

        with pytest.raises(AssertionError, match="forgotten"):
            async with open_harness(LEAVING, Leaving(leave)):
                pass
        others.cancel_scope.cancel()


async def test_a_handler_that_does_not_stop_is_found() -> None:
    end, begun = threading.Event(), anyio.Event()

    def stuck(ctx: ToolContext) -> None:
        anyio.from_thread.run_sync(begun.set)
        end.wait()

    try:
        with pytest.raises(AssertionError, match="1 threads were abandoned"):
            async with open_harness({"plugins": ["memory"]}) as harness:
                harness.broker.tools({"stuck": stuck})
                async with harness.broker.session() as session, anyio.create_task_group() as tasks:
                    tasks.start_soon(session.call, "stuck")
                    await begun.wait()
                    tasks.cancel_scope.cancel()
    finally:
        end.set()


async def test_an_error_of_the_test_is_not_hidden_by_what_it_left() -> None:
    async with anyio.create_task_group() as others:

        async def leave() -> None:
            others.start_soon(anyio.sleep_forever)

        with pytest.raises(KeyError, match="mine"):
            async with open_harness(LEAVING, Leaving(leave)):
                raise KeyError("mine")
        others.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("happened", "said"),
    [
        ("+store +access", "not closed: access, store"),
        ("+store +access +tools[0] -access -tools[0] -store", "closed out of turn: access"),
        ("+access +access -access", "not closed: access"),
        ("+store +access +tools[0] -store -tools[0] -access", None),
        ("+access +tools[0] +access +tools[0] -tools[0] -access -access -tools[0]", None),
    ],
)
def test_parts_close_each_before_those_that_opened_earlier(happened: str, said: str | None) -> None:
    lives = Lives({})
    lives.happened = [
        ("opened" if text[0] == "+" else "closed", text[1:]) for text in happened.split()
    ]
    if said is None:
        lives.require_closed()
        return
    with pytest.raises(AssertionError, match=said):
        lives.require_closed()
