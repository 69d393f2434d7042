"""Each part of the testing kit keeps the contract of its kind, and does as it was told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import anyio
import pytest
from pydantic import BaseModel
from pydantic_core import to_json

from enclave_broker_core import (
    AccessDeniedError,
    ConfigError,
    Principal,
    SecretError,
    ToolError,
    Verdict,
)
from enclave_broker_core.contracts import (
    AccessPolicy,
    AccessRequest,
    Authenticator,
    Credentials,
    EventSink,
    Limiter,
    SecretSource,
    ToolProvider,
)
from enclave_broker_core.testing.authenticators import AuthenticatorSuite
from enclave_broker_core.testing.contexts import RecordingContext
from enclave_broker_core.testing.fakes import (
    Clock,
    ClockedLimiter,
    KnownSecrets,
    KnownTokens,
    RecordingSink,
    ScriptedPolicy,
)
from enclave_broker_core.testing.faults import Faults, fails
from enclave_broker_core.testing.gates import Gate
from enclave_broker_core.testing.limiters import LimiterSuite
from enclave_broker_core.testing.policies import AccessPolicySuite
from enclave_broker_core.testing.providers import Example, ToolProviderSuite
from enclave_broker_core.testing.scripted_tools import (
    ScriptedProvider,
    progresses,
    streams,
    waits,
)
from enclave_broker_core.testing.secret_sources import SecretSourceSuite
from enclave_broker_core.testing.sinks import EventSinkSuite, id_of

ADA = Principal(id="ada")


class TestKnownTokens(AuthenticatorSuite):
    good = Credentials({"authorization": "Bearer the-good-token"})
    principal = ADA
    wrong = Credentials({"authorization": "Bearer some-wrong-token"})
    foreign = (Credentials({}), Credentials({"authorization": "Basic YWRhOmFkYQ=="}))

    @asynccontextmanager
    async def open_authenticator(self) -> AsyncIterator[Authenticator]:
        yield KnownTokens({"the-good-token": self.principal})


class TestKnownSecrets(SecretSourceSuite):
    known: ClassVar = {"TOKEN": "a-long-token", "KEY": "another-value"}

    @asynccontextmanager
    async def open_source(self) -> AsyncIterator[SecretSource]:
        self.source = KnownSecrets(self.known)
        yield self.source

    @asynccontextmanager
    async def open_broken_source(self) -> AsyncIterator[SecretSource]:
        faults = Faults()
        faults.on("get", fails(SecretError("the vault is out of reach")))
        yield faults.around(KnownSecrets(self.known))

    async def rotate(self, name: str, value: str) -> None:
        self.source.values[name] = value


class TestScriptedPolicy(AccessPolicySuite):
    allowed = AccessRequest("users:get", ADA, "s_1", {"plan": ["free"]})
    refused = AccessRequest("users:delete", ADA)

    @asynccontextmanager
    async def open_policy(self) -> AsyncIterator[AccessPolicy]:
        policy = ScriptedPolicy()
        policy.say(Verdict.DENY, "users:*")
        policy.say(Verdict.ALLOW, "users:get")
        yield policy


class TestScriptedPolicyOfArguments(AccessPolicySuite):
    allowed = AccessRequest("pay", ADA, arguments={"amount": 1})
    refused = AccessRequest("pay", ADA, arguments={"amount": 1000})

    @asynccontextmanager
    async def open_policy(self) -> AsyncIterator[AccessPolicy]:
        policy = ScriptedPolicy(Verdict.ASK, judges_arguments=True)
        policy.say(Verdict.ALLOW, "pay", when=lambda asked: asked.arguments == {"amount": 1})
        yield policy


class TestClockedLimiter(LimiterSuite):
    seconds = 60.0
    leeway = 0.0

    @asynccontextmanager
    async def open_limiter(self) -> AsyncIterator[Limiter]:
        self.clock = Clock()
        yield ClockedLimiter(self.clock)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestRecordingSink(EventSinkSuite):
    @asynccontextmanager
    async def open_sink(self) -> AsyncIterator[EventSink]:
        yield RecordingSink()

    @asynccontextmanager
    async def open_broken_sink(self) -> AsyncIterator[EventSink]:
        faults = Faults()
        faults.on("observe", fails(OSError("no space left")))
        yield faults.around(RecordingSink())

    async def noted(self, sink: EventSink) -> Sequence[str]:
        assert isinstance(sink, RecordingSink)
        return [id_of(observation) for observation in sink.observations]


class Order(BaseModel):
    item: str
    count: int = 1


class TestScriptedProvider(ToolProviderSuite):
    examples = (
        Example(
            "orders:add",
            {"item": "tea", "count": 2},
            {"id": 7},
            {"item": "tea", "count": "plenty of it"},
            "count",
        ),
        Example(
            "users:get", {"id": 1}, {"name": "Ada", "tags": ["a"]}, {"id": "no number at all"}, "id"
        ),
    )
    waiting = ("slow", {})

    @asynccontextmanager
    async def open_provider(self) -> AsyncIterator[ToolProvider]:
        provider = self.provider = ScriptedProvider()
        schema = {"properties": {"id": {"type": "integer"}}, "required": ["id"]}
        provider.add("users:get", {"name": "Ada", "tags": ["a"]}, schema=schema)
        provider.add("orders:add", {"id": 7}, model=Order)
        provider.add("slow", waits(Gate()))
        yield provider

    async def change(self) -> None:
        self.provider.add("one:more", 1)
        self.provider.remove("users:get")

    def running(self) -> int:
        return self.provider["slow"].running


# What they tell


@pytest.mark.anyio
async def test_a_policy_decides_as_it_was_told_last_and_keeps_what_it_was_asked() -> None:
    policy = ScriptedPolicy(Verdict.DENY)
    metadata: dict[str, Any] = {"plan": ["free"]}
    request = AccessRequest("users:get", ADA, "s_1", metadata)
    assert (await policy.decide(request)).rule == "scripted default"
    policy.say(Verdict.ALLOW, "users:*", reason="for a test")
    decision = await policy.decide(request)
    assert (decision.verdict, decision.rule, decision.reason) == (
        Verdict.ALLOW,
        "scripted users:*",
        "for a test",
    )
    policy.say(Verdict.ASK, "users:*", when=lambda asked: asked.session_id == "s_2")
    assert (await policy.decide(request)).allowed
    assert (await policy.decide(request._replace(session_id="s_2"))).verdict is Verdict.ASK
    metadata["plan"].append("changed")
    assert [asked.metadata for asked in policy.asked] == [{"plan": ["free"]}] * 4
    assert [asked.session_id for asked in policy.asked] == ["s_1", "s_1", "s_1", "s_2"]


@pytest.mark.anyio
async def test_tokens_and_secrets_may_change() -> None:
    tokens, secrets = KnownTokens({}), KnownSecrets({})
    credentials = Credentials({"authorization": "bearer new"})
    with pytest.raises(AccessDeniedError):
        await tokens.authenticate(credentials)
    tokens.principals["new"] = ADA
    assert await tokens.authenticate(credentials) is ADA
    assert await secrets.get("KEY") is None
    secrets.values["KEY"] = "now there"
    assert await secrets.get("KEY") == "now there"
    assert secrets.asked == ["KEY", "KEY"]


@pytest.mark.anyio
async def test_a_tool_answers_one_by_one_and_tells_what_came() -> None:
    provider, gate = ScriptedProvider(), Gate()
    told = {"name": ["Ada"]}
    tool = provider.add(
        "t",
        told,
        ToolError("not now"),
        progresses("sending", then=1),
        streams(1, 2),
        waits(gate, 3),
    )
    context = RecordingContext("t")

    async def call(**arguments: Any) -> Any:
        return await tool.invoke(tool.validate(to_json(arguments)), context)

    first = await call(n=1)
    assert first == told
    first["name"].clear()
    assert told == {"name": ["Ada"]}
    with pytest.raises(ToolError, match="not now"):
        await call(n=2)
    assert await call() == 1
    assert await call() == [1, 2]
    assert context.log_entries == [("progress", "sending"), ("partial", 1), ("partial", 2)]
    results: list[Any] = []
    async with anyio.create_task_group() as tasks:

        async def waiting() -> None:
            results.append(await call(n=5))

        tasks.start_soon(waiting)
        tasks.start_soon(waiting)
        await gate.reached(2)
        assert (tool.running, gate.waiting, results) == (2, 2, [])
        gate.open()
    assert (tool.running, gate.waiting, results) == (0, 0, [3, 3])
    assert [dict(made.arguments) for made in tool.calls] == [
        {"n": 1},
        {"n": 2},
        {},
        {},
        {"n": 5},
        {"n": 5},
    ]
    assert {made.session_id for made in tool.calls} == {"s_sample"}


def test_a_tool_that_is_no_tool_is_refused() -> None:
    provider = ScriptedProvider()
    with pytest.raises(ConfigError, match="is a pattern"):
        provider.add("files:*")
    with pytest.raises(ConfigError, match="not a tool name"):
        provider.add("no tool name")


@pytest.mark.anyio
async def test_an_error_that_is_raised_twice_is_not_the_same_object() -> None:
    """Else the second would carry the first one's traceback."""
    provider, error = ScriptedProvider(), ToolError("no")
    tool = provider.add("t", error)
    raised = []
    for _ in range(2):
        with pytest.raises(ToolError, match="no") as caught:
            await tool.invoke(tool.validate(b"{}"), RecordingContext("t"))
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert error not in raised


@pytest.mark.anyio
async def test_who_asks_for_the_tools_takes_no_change_from_who_watches() -> None:
    provider = ScriptedProvider()
    published: list[int] = []

    async def publish(tools: Sequence[Any]) -> None:
        published.append(len(tools))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            await provider.tools()
            tasks.start_soon(provider.watch, publish)
            await anyio.wait_all_tasks_blocked()
            provider.add("t")
            assert len(await provider.tools()) == 1
            await anyio.wait_all_tasks_blocked()
            assert published == [1]
            tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_who_waits_for_a_provider_that_is_not_open_yet_is_woken() -> None:
    provider = ScriptedProvider()
    provider.add("t")
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(provider.settled)
            await anyio.wait_all_tasks_blocked()
            await provider.tools()


def test_parts_may_be_used_on_one_event_loop_after_the_other() -> None:
    provider, gate = ScriptedProvider(), Gate()

    async def watched() -> None:
        published: list[int] = []

        async def publish(tools: Sequence[Any]) -> None:
            published.append(len(tools))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(provider.watch, publish)
                tasks.start_soon(gate.wait)
                await gate.reached(gate.arrived + 1)
                await anyio.wait_all_tasks_blocked()
                provider.add(f"t{len(provider.names)}")
                await provider.settled()
                assert published[-1] == len(provider.names)
                tasks.cancel_scope.cancel()

    for loop in ("asyncio", "trio", "asyncio"):
        anyio.run(watched, backend=loop)
    assert (gate.arrived, gate.waiting) == (3, 0)
