"""Who may call what, as a broker enforces it and as agents and operators are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from enclave_broker_core import (
    AccessController,
    AccessDeniedError,
    AccessRequest,
    ApprovalRequiredError,
    Broker,
    BrokerError,
    CallFinished,
    ConfigError,
    Decision,
    Observation,
    Principal,
    Session,
    UnknownToolError,
    Verdict,
)

pytestmark = pytest.mark.anyio

TOOLS = ("users:get", "users:gut", "users:delete", "admin:stop", "public:a.b")


class Watch:
    """An event sink that keeps what it is told of calls."""

    def __init__(self) -> None:
        self.calls: list[CallFinished] = []

    async def observe(self, observation: Observation) -> None:
        if isinstance(observation, CallFinished):
            self.calls.append(observation)

    def rules(self) -> list[str | None]:
        return [None if one.decision is None else one.decision.rule for one in self.calls]


@asynccontextmanager
async def session_of(access: Any, audit: Any = None, **options: Any) -> AsyncIterator[Session]:
    broker = Broker(access=access, audit=audit)
    for name in TOOLS:
        broker.tool(name)(_tool(name))
    broker.tool("members", requires_auth=True)(_tool("members"))
    async with broker, broker.session(**options) as session:
        yield session


def _tool(name: str) -> Any:
    async def tool(n: int = 0) -> str:
        return name

    return tool


async def codes(session: Session, *names: str) -> list[str]:
    found = []
    for name in names:
        try:
            await session.call(name)
            found.append("ok")
        except BrokerError as error:
            found.append(error.code)
    return found


@pytest.mark.parametrize(
    ("default", "code"),
    [("allow", "ok"), ("deny", "ACCESS_DENIED"), ("ask", "APPROVAL_REQUIRED")],
)
async def test_the_default_and_the_three_verdicts(default: Any, code: str) -> None:
    rules = [
        {"pattern": "users:get", "allow": True},
        {"pattern": "users:*", "allow": "ask"},
        {"pattern": "admin:*", "allow": False, "unless": {"role": "admin"}},
    ]
    names = ("users:get", "users:delete", "admin:stop", "public:a.b")
    async with session_of(AccessController(rules, default=default)) as session:
        assert await codes(session, *names) == ["ok", "APPROVAL_REQUIRED", "ACCESS_DENIED", code]
        with pytest.raises(ApprovalRequiredError, match="needs an approval"):
            await session.call("users:delete")
    admin = Principal(id="a", roles=frozenset({"admin"}))
    async with session_of(AccessController(rules), principal=admin) as session:
        assert await codes(session, "admin:stop") == ["ok"]


async def test_a_session_has_only_the_tools_that_it_is_allowed() -> None:
    async with session_of(None, allowed_tools=["users:*", "public:a.b"]) as session:
        assert await codes(session, *TOOLS) == ["ok", "ok", "ok", "ACCESS_DENIED", "ok"]
        visible = await session.visible_tools()
        assert sorted(spec.name for spec in visible.values()) == sorted(
            ["public:a.b", "users:delete", "users:get", "users:gut"]
        )
    async with session_of(None, allowed_tools=[]) as session:
        assert await codes(session, "users:get") == ["ACCESS_DENIED"]


async def test_allowed_tools_do_not_open_what_a_policy_denies() -> None:
    access = AccessController([{"pattern": "users:get", "allow": True}])
    async with session_of(access, allowed_tools=["*"]) as session:
        assert await codes(session, "users:get", "users:gut") == ["ok", "ACCESS_DENIED"]


async def test_a_tool_may_require_an_authenticated_caller() -> None:
    for principal, code in (
        (None, "ok"),
        (Principal(id="a"), "ok"),
        (Principal.anonymous(), "ACCESS_DENIED"),
    ):
        async with session_of(None, principal=principal) as session:
            assert await codes(session, "members") == [code]


async def test_near_names_are_of_the_callers_own_tools_only() -> None:
    access = AccessController([{"pattern": "users:gut", "allow": False}], default="allow")
    async with session_of(access, allowed_tools=["users:g*"]) as session:
        with pytest.raises(UnknownToolError) as caught:
            await session.call("users:gett")
        assert caught.value.message == (
            "there is no tool named 'users:gett'; did you mean 'users:get'?"
        )
        with pytest.raises(UnknownToolError) as caught:
            await session.call("admin:stopp")
        assert caught.value.message == "there is no tool named 'admin:stopp'"


class Policy:
    judges_arguments = False

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def decide(self, request: AccessRequest) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def _coroutine() -> Decision:
    return Decision(Verdict.ALLOW, "late")


@pytest.mark.parametrize("judging", [False, True])
async def test_a_policy_that_gives_no_decision_refuses(judging: bool) -> None:
    policy, watch = Policy(None), Watch()
    policy.judges_arguments = judging
    async with session_of(policy, watch) as session:
        for answer in (ValueError("no idea"), True, 1, "allow", None, Verdict.ALLOW):
            policy.answer = answer
            with pytest.raises(AccessDeniedError, match=r"^you may not use users:get$"):
                await session.call("users:get")
    assert len(watch.calls) == 6
    for call in watch.calls:
        assert call.decision is not None
        assert (call.decision.verdict, call.decision.rule) == (Verdict.DENY, "Policy")


async def test_a_policy_that_answers_a_coroutine_refuses() -> None:
    late = _coroutine()
    async with session_of(Policy(late)) as session:
        assert await codes(session, "users:get") == ["ACCESS_DENIED"]
    late.close()


async def test_every_policy_has_to_allow() -> None:
    allow = AccessController(default="allow")
    deny = AccessController([{"pattern": "admin:*", "allow": False}], default="allow")
    for policies in ([allow, deny], [deny, allow]):
        async with session_of(policies) as session:
            assert await codes(session, "users:get", "admin:stop") == ["ok", "ACCESS_DENIED"]


class NoFlag:
    async def decide(self, request: AccessRequest) -> Decision:
        return Decision(Verdict.ALLOW, "x")


class NotAsync:
    judges_arguments = False

    def decide(self, request: AccessRequest) -> Decision:
        return Decision(Verdict.ALLOW, "x")


@pytest.mark.parametrize(
    ("policy", "said"),
    [(NoFlag(), "judges_arguments = True"), (NotAsync(), "needs an 'async def decide'")],
)
async def test_what_is_no_policy_stops_the_start(policy: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        async with Broker(access=policy):
            pass


class SmallNumbers:
    judges_arguments = True

    def __init__(self) -> None:
        self.asked: list[AccessRequest] = []

    async def decide(self, request: AccessRequest) -> Decision:
        self.asked.append(request)
        assert request.arguments is not None
        small = request.arguments["n"] < 10  # type: ignore[operator]
        return Decision(Verdict.ALLOW if small else Verdict.DENY, "small numbers")


async def test_a_policy_may_judge_the_validated_arguments() -> None:
    policy, watch = SmallNumbers(), Watch()
    who = Principal(id="a")
    async with session_of(policy, watch, principal=who, metadata={"k": 1}) as session:
        assert await session.call("users:get", {"n": "3"}) == "users:get"
        assert await codes(session, "users:get") == ["ok"]
        with pytest.raises(AccessDeniedError, match=r"^you may not use users:get$"):
            await session.call("users:get", {"n": 30})
        with pytest.raises(BrokerError, match="n: Input should be"):
            await session.call("users:get", {"n": "x"})
        assert [call.rule for call in await session.history()][2] == "small numbers"
    asked = policy.asked
    assert [request.arguments for request in asked] == [{"n": 3}, {"n": 0}, {"n": 30}]
    assert (asked[0].tool, asked[0].principal, asked[0].session_id, asked[0].metadata) == (
        "users:get",
        who,
        session.id,
        {"k": 1},
    )
    assert watch.rules()[2] == "small numbers"


async def test_decisions_are_for_operators_and_not_for_the_agent() -> None:
    rules = [{"pattern": "admin:*", "allow": False}, {"pattern": "users:*", "allow": True}]
    watch = Watch()
    async with session_of(AccessController(rules), watch) as session:
        assert await codes(session, "admin:stop", "users:get", "public:a.b") == [
            "ACCESS_DENIED",
            "ok",
            "ACCESS_DENIED",
        ]
        history = await session.history()
        await session.complete()
        events = [event.to_json().decode() async for event in session.events()]
    rules_told = [call.rule for call in history]
    assert "admin:*" in rules_told[0]
    assert "users:*" in rules_told[1]
    assert rules_told[2] == "default"
    assert watch.rules() == rules_told
    for text in [*events, *(str(call.to_json()) for call in history)]:
        assert "admin:*" not in text
        assert "rule" not in text
        assert "default" not in text


async def test_an_external_name_is_judged_and_counted_as_the_tool_itself() -> None:
    access = AccessController([{"pattern": "users:*", "allow": True}])
    async with session_of(access) as session:
        assert await session.call("users_get") == "users:get"
        assert await codes(session, "admin_stop", "users_none") == [
            "ACCESS_DENIED",
            "UNKNOWN_TOOL",
        ]
        assert [call.tool for call in await session.history()] == [
            "users:get",
            "admin:stop",
            "users_none",
        ]
        assert set(await session.visible_tools()) == {"users_get", "users_gut", "users_delete"}


async def test_a_pattern_handler_is_judged_by_the_name_that_is_called() -> None:
    access = AccessController([{"pattern": "db:read:*", "allow": True}])
    broker = Broker(access=access)

    @broker.tool("db:*")
    async def db(name: str, args: dict[str, Any]) -> list[Any]:
        return [name, args]

    async with broker, broker.session() as session:
        assert await session.call("db:read:a", {"x": 1}) == ["db:read:a", {"x": 1}]
        assert await codes(session, "db:write:a", "other") == ["ACCESS_DENIED", "UNKNOWN_TOOL"]
