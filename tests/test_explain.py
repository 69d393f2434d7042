"""What ``Broker.explain`` says of a call is what becomes of it; and it does nothing."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from enclave_broker_core import (
    AccessController,
    AccessRequest,
    ArgumentsError,
    Broker,
    BrokerError,
    CallNext,
    ConfigError,
    Decision,
    Observation,
    Principal,
    RateLimiter,
    SessionLimits,
    ToolCall,
    Verdict,
)
from enclave_broker_core.explain import CallExplanation, PolicyAnswer, WindowRoom

pytestmark = pytest.mark.anyio

RULES: list[Any] = [
    {"pattern": "files:delete", "allow": "ask"},
    {"pattern": "admin:*", "allow": False, "unless": {"role": "admin"}},
]
ADMIN = Principal(id="a", roles=frozenset({"admin"}))
SECRET = "a value of eight or more"


class Watch:
    """Counts what happens to each part of a broker that a call would come to."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def observe(self, observation: Observation) -> None:
        self.ran.append("sink")

    async def outer(self, call: ToolCall, call_next: CallNext) -> Any:
        self.ran.append("middleware")
        return await call_next(call)

    async def inner(self, call: ToolCall, call_next: CallNext) -> Any:
        return await call_next(call)

    async def tool(self, id: int, text: str = "") -> int:
        self.ran.append("tool")
        return id


class Small:
    """Judges arguments: no id over 9."""

    judges_arguments = True

    async def decide(self, request: AccessRequest) -> Decision:
        assert request.arguments is not None
        small = int(str(request.arguments["id"])) <= 9
        return Decision(
            Verdict.ALLOW if small else Verdict.DENY, "small", f"asked by {request.session_id}"
        )


class Sources:
    async def get(self, name: str) -> str | None:
        return SECRET if name == "KNOWN" else None


def broker_of(watch: Watch | None = None, **options: Any) -> Broker:
    watch = watch or Watch()
    options = {
        "access": AccessController(RULES, default="allow"),
        "limiter": RateLimiter(
            global_={"max_calls": 3, "window": 60},
            per_session={"max_calls": 2, "window": 60},
            per_principal={"max_calls": 9, "window": 30},
            per_tool={"users:*": {"max_calls": 5, "window": 0.5}},
        ),
        "secrets": [Sources()],
        **options,
    }
    broker = Broker(**options)
    broker.tool("users:get", timeout=5, secrets=["KNOWN"])(watch.tool)
    broker.tool("admin:stop")(watch.tool)
    broker.tool("members", requires_auth=True)(watch.tool)
    broker.tool("files:delete")(watch.tool)
    broker.tool("needs", secrets=["KNOWN", "UNKNOWN"])(watch.tool)

    @broker.tool("db:*", rate_limit={"max_calls": 1, "window": 10})
    async def database(name: str, args: dict[str, Any]) -> str:
        return name

    return broker


async def code_of(broker: Broker, name: str, args: dict[str, Any], **options: Any) -> str | None:
    """The code of what a real call of a new session hears."""
    async with broker.session(**options) as session:
        try:
            await session.call(name, args)
        except BrokerError as error:
            return error.code
    return None


async def test_all_of_a_call_that_would_be_let_through() -> None:
    watch = Watch()
    ada = Principal(id="ada", tenant="t")
    async with broker_of(watch, middleware=[watch.outer, watch.inner]) as broker:
        found = await broker.explain("users_get", {"id": 1}, principal=ada)
    assert found == CallExplanation(
        name="users_get",
        tool="users:get",
        pattern=None,
        near=(),
        refusal=None,
        message="",
        decisions=(PolicyAnswer("AccessController", Verdict.ALLOW, "default", "no rule matches"),),
        windows=(
            WindowRoom("global", 3, 60.0, 3),
            WindowRoom("session", 2, 60.0, 2),
            WindowRoom("principal", 9, 30.0, 9),
            WindowRoom("tool users:*", 5, 0.5, 5),
        ),
        middleware=("outer", "inner"),
        problems=(),
        deadline=5.0,
        deadline_from="tool",
        secrets={"KNOWN": True},
        calls_left=None,
    )
    assert found.allowed
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("name", "args", "options", "code"),
    [
        ("users:get", {"id": 1}, {}, None),
        ("users:get", {"id": "x"}, {}, "VALIDATION_ERROR"),
        ("users:get", {}, {}, "VALIDATION_ERROR"),
        ("users:get", {"id": 1, "text": "x" * 2_000_000}, {}, "VALIDATION_ERROR"),
        ("users:get", {"id": 1}, {"allowed_tools": ["admin:*"]}, "ACCESS_DENIED"),
        ("users:get", {"id": 10}, {}, "ACCESS_DENIED"),
        ("admin:stop", {"id": 1}, {}, "ACCESS_DENIED"),
        ("admin:stop", {"id": "x"}, {}, "ACCESS_DENIED"),
        (
            "admin:stop",
            {"id": 1},
            {"principal": Principal(id="a", roles=frozenset({"admin"}))},
            None,
        ),
        ("files:delete", {"id": 1}, {}, "APPROVAL_REQUIRED"),
        ("nobody", {}, {}, "UNKNOWN_TOOL"),
        ("nobody\udcff" * 200, {}, {}, "UNKNOWN_TOOL"),
        ("db:any", {"id": 1}, {}, None),
        ("needs", {"id": 1}, {}, "SECRET_ERROR"),
    ],
)
async def test_it_says_what_becomes_of_the_call(
    name: str, args: dict[str, Any], options: dict[str, Any], code: str | None
) -> None:
    access = [AccessController(RULES, default="allow"), Small()]
    async with broker_of(access=access) as broker:
        found = await broker.explain(name, args, **options)
        assert (found.refusal, found.allowed) == (code, code is None)
        assert bool(found.message) == (code is not None)
        assert await code_of(broker, name, args, **options) == code


async def test_nothing_is_executed_counted_or_recorded() -> None:
    watch = Watch()
    limits = SessionLimits(max_tool_calls=1)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(
            broker_of(watch, middleware=[watch.outer], sinks=[watch], limits=limits)
        )
        session = await stack.enter_async_context(broker.session())
        watch.ran.clear()
        for _ in range(4):  # more than any window or the session has room for
            found = await broker.explain("users:get", {"id": 1}, session=session)
            assert found.allowed
            assert [room.left for room in found.windows] == [3, 2, 5]
            assert found.calls_left == 1
        assert watch.ran == []
        assert (await session.history(), session.info().tool_calls) == ([], 0)
        assert broker.stats().calls == 0
        assert broker.stats().open_sessions == 1
        assert await session.call("users:get", {"id": 1}) == 1
        assert [event.type for event in await _events(session)] == [
            "session_init",
            "tool_call",
            "tool_result_applied",
            "final",
        ]


async def _events(session: Any) -> list[Any]:
    await session.complete()
    return [event async for event in session.events()]


async def test_what_is_left_shrinks_with_calls_and_at_none_it_is_refused() -> None:
    async with broker_of() as broker, broker.session() as session:
        for left in (2, 1):
            found = await broker.explain("users:get", session=session)
            assert [room.left for room in found.windows][:2] == [left + 1, left]
            await session.call("users:get", {"id": 1})
        found = await broker.explain("users:get", session=session)
        assert [room.left for room in found.windows][:2] == [1, 0]
        assert found.refusal == "RATE_LIMITED"
        assert found.message == "users:get: the limit of 2 calls in 60 s (session) is reached"
        # A new session has all of its own windows, and what is left of the shared ones.
        fresh = await broker.explain("users:get")
        assert [room.left for room in fresh.windows][:2] == [1, 2]
        assert fresh.allowed


async def test_the_route_of_a_pattern_and_its_own_window() -> None:
    async with broker_of() as broker:
        found = await broker.explain("db:query", {"any": [1]})
    assert (found.tool, found.pattern, found.problems) == ("db:query", "db:*", ())
    assert found.windows[-1] == WindowRoom("tool db:*", 1, 10.0, 1)


async def test_near_names_are_those_that_the_caller_may_use() -> None:
    async with broker_of() as broker:
        assert (await broker.explain("admin:stpo")).near == ()
        assert (await broker.explain("admin:stpo", principal=ADMIN)).near == ("admin:stop",)


async def test_the_principal_and_the_tools_of_a_session_unless_others_are_given() -> None:
    async with broker_of() as broker:
        session = await broker.create_session(principal=ADMIN, allowed_tools=["admin:*"])
        names = ("admin:stop", "users:get")
        own = [(await broker.explain(name, session=session)).allowed for name in names]
        other = await broker.explain("admin:stop", session=session, principal=Principal(id="b"))
        wider = await broker.explain("users:get", session=session, allowed_tools=["*"])
    assert (own, other.allowed, wider.allowed) == ([True, False], False, True)


async def test_a_session_that_is_over_or_has_no_calls_left() -> None:
    async with broker_of() as broker:
        session = await broker.create_session(max_tool_calls=1)
        await session.call("users:get", {"id": 1})
        used = await broker.explain("users:get", {"id": 1}, session=session)
        assert (used.refusal, used.calls_left) == ("MAX_TOOL_CALLS", 0)
        await session.complete()
        over = await broker.explain("users:get", {"id": 1}, session=session)
        assert (over.refusal, over.message) == ("SESSION_ENDED", "the session has completed")


async def test_mistakes_of_the_program() -> None:
    broker = broker_of()
    with pytest.raises(ConfigError, match="not open"):
        await broker.explain("users:get")
    async with broker:
        with pytest.raises(ArgumentsError, match="allowed_tools: "):
            await broker.explain("users:get", allowed_tools=["[a"])
        wrong: Any = ["id"]
        found = await broker.explain("users:get", wrong)
        assert found.problems == (("", "the arguments of users:get must be an object, by name"),)
