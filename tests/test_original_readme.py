"""Every example of the README that this software began with, in Python, on both loops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import pytest

from enclave_broker_core import (
    AccessController,
    AccessDeniedError,
    Broker,
    RateLimitedError,
    RateLimiter,
    Session,
    SessionManager,
    SessionNotFoundError,
    SessionState,
    ToolCall,
    ToolError,
    ToolRouter,
    TooManySessionsError,
    UnknownToolError,
)

pytestmark = pytest.mark.anyio


async def get_user(id: int) -> dict[str, Any]:
    return {"id": id, "name": "Alice"}


async def list_users() -> list[dict[str, Any]]:
    return [{"id": 1, "name": "Alice"}, {"id": 2, "name": "Bob"}]


async def taken(messages: AsyncIterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    with anyio.fail_after(10):
        return [await anext(messages) for _ in range(count)]


# Quick start


async def test_quick_start() -> None:
    broker = Broker(
        tools={"users:get": get_user, "users:list": list_users, "admin:stop": lambda: "stopped"}
    )
    async with broker:
        session = await broker.create_session(
            allowed_tools=["users:*"], timeout=30, max_tool_calls=100
        )
        assert (session.limits.timeout, session.limits.max_tool_calls) == (30, 100)

        async def on_tool_call(call: Any) -> None:
            result = await broker.execute_tool_call(session.id, call)
            await session.send({"type": "tool_result", "id": call.id, "data": result})

        session.on("tool_call", on_tool_call)
        sent = session.messages()

        await session.deliver(
            {"type": "tool_call", "id": "call_1", "name": "users:get", "args": {"id": 1}}
        )
        assert await taken(sent, 1) == [
            {"type": "tool_result", "id": "call_1", "data": {"id": 1, "name": "Alice"}}
        ]
        await session.deliver({"type": "tool_call", "id": "call_2", "name": "users:list"})
        assert await taken(sent, 1) == [
            {
                "type": "tool_result",
                "id": "call_2",
                "data": [{"id": 1, "name": "Alice"}, {"id": 2, "name": "Bob"}],
            }
        ]
        # What the session's patterns do not allow is refused, and the handler's caller hears.
        await session.deliver({"type": "tool_call", "id": "call_3", "name": "admin:stop"})
        (refused,) = await taken(sent, 1)
        assert (refused["type"], refused["id"]) == ("tool_error", "call_3")
        assert refused["error"]["code"] == "ACCESS_DENIED"

        history = await session.history()
        assert [(record.tool, record.outcome) for record in history] == [
            ("users:get", "ok"),
            ("users:list", "ok"),
            ("admin:stop", "refused"),
        ]
        await session.complete()
        assert [message async for message in sent] == []


async def test_quick_start_without_a_handler_of_ones_own() -> None:
    async with Broker(tools={"users:get": get_user}) as broker:
        session = await broker.create_session(allowed_tools=["users:*"])
        await session.deliver(
            {"type": "tool_call", "id": "call_1", "name": "users:get", "args": {"id": 7}}
        )
        assert await taken(session.messages(), 1) == [
            {"type": "tool_result", "id": "call_1", "data": {"id": 7, "name": "Alice"}}
        ]


# Session management


async def test_session_management() -> None:
    async with SessionManager(
        max_concurrent_sessions=100, session_timeout=60, cleanup_interval=10
    ) as manager:
        session = await manager.create(user_id="user_123", metadata={"source": "api"})
        assert session.principal is not None
        assert session.principal.id == "user_123"
        assert session.metadata == {"source": "api"}
        assert session.limits.timeout == 60

        retrieved = await manager.get(session.id)
        assert retrieved is session

        other = await manager.create(user_id="user_456")
        sessions = await manager.list(user_id="user_123")
        assert [record.id for record in sessions] == [session.id]
        assert sessions[0].metadata == {"source": "api"}
        assert {record.id for record in await manager.list()} == {session.id, other.id}

        assert await manager.destroy(session.id) is True
        assert session.state is SessionState.CANCELLED
        with pytest.raises(SessionNotFoundError):
            await manager.get(session.id)
        assert await manager.list(user_id="user_123") == []
        assert await manager.destroy(session.id) is False


async def test_no_more_sessions_at_once_than_allowed() -> None:
    async with SessionManager(max_concurrent_sessions=100, session_timeout=60) as manager:
        sessions: list[Session] = [await manager.create() for _ in range(100)]
        with pytest.raises(TooManySessionsError) as caught:
            await manager.create()
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 60
        await manager.destroy(sessions[0].id)
        assert (await manager.create()).state is SessionState.RUNNING


# Tool routing


class Database:
    async def query(self, args: Mapping[str, Any]) -> list[Any]:
        return [{"rows": 3, "sql": args["sql"]}]


class ExternalApi:
    async def call(self, name: str, args: Mapping[str, Any]) -> str:
        return f"{name} was called with {dict(args)}"


def router() -> ToolRouter:
    database, external_api = Database(), ExternalApi()
    router = ToolRouter()

    async def on_database(name: str, args: dict[str, Any]) -> Any:
        operation = name.split(":")[1]
        return await getattr(database, operation)(args)

    async def on_external(name: str, args: dict[str, Any]) -> Any:
        return await external_api.call(name, args)

    router.register("db:*", on_database, rate_limit={"max_calls": 100, "window": 60})
    router.register("api:external:*", on_external, requires_auth=True)
    return router


async def test_tool_routing() -> None:
    routes = router()
    result = await routes.execute("db:query", {"sql": "SELECT * FROM users"})
    assert result == [{"rows": 3, "sql": "SELECT * FROM users"}]
    assert await routes.execute("api:external:weather", {"city": "Rome"}) == (
        "api:external:weather was called with {'city': 'Rome'}"
    )
    with pytest.raises(UnknownToolError):
        await routes.execute("api:internal:x")
    for _ in range(99):
        await routes.execute("db:query", {"sql": ""})
    with pytest.raises(RateLimitedError):
        await routes.execute("db:query", {"sql": ""})


async def test_tool_routing_in_a_broker() -> None:
    async with Broker(tools=router()) as broker, broker.session() as session:
        result = await session.call("db:query", {"sql": "SELECT * FROM users"})
        assert result == [{"rows": 3, "sql": "SELECT * FROM users"}]
        for _ in range(99):
            await session.call("db:query", {"sql": ""})
        with pytest.raises(RateLimitedError):
            await session.call("db:query", {"sql": ""})


# Access control


def access() -> AccessController:
    return AccessController(
        default="deny",
        rules=[
            {"pattern": "public:*", "allow": True},
            {"pattern": "admin:*", "allow": False, "unless": {"role": "admin"}},
            {"pattern": "user:*:read", "allow": True},
            {"pattern": "user:*:write", "allow": False, "unless": {"owner": True}},
        ],
    )


async def test_access_control() -> None:
    rules = access()
    can_access = rules.check("admin:delete", {"role": "user"})
    can_read = rules.check("user:profile:read", {})
    assert not can_access
    assert can_read
    assert (can_access.allowed, can_read.allowed) == (False, True)

    assert rules.check("admin:delete", {"role": "admin"})
    assert rules.check("public:info", {})
    assert not rules.check("user:profile:write", {})
    assert rules.check("user:profile:write", {"owner": True})
    assert not rules.check("something:else", {"role": "admin"})


async def test_access_control_in_a_broker() -> None:
    tools = {"admin:delete": lambda: "deleted", "user:profile:read": lambda: "profile"}
    async with Broker(tools=tools, access=access()) as broker:
        session = await broker.create_session(user_id="ada")
        assert await session.call("user:profile:read") == "profile"
        with pytest.raises(AccessDeniedError):
            await session.call("admin:delete")


# Middleware


async def test_middleware() -> None:
    log: list[str] = []

    async def logging(call: ToolCall, call_next: Any) -> Any:
        log.append(f"Tool call: {call.name}")
        started = anyio.current_time()
        result = await call_next(call)
        assert anyio.current_time() >= started
        log.append(f"Completed: {result}")
        return result

    def is_valid(name: str, args: Mapping[str, Any]) -> bool:
        return name != "users:get" or args.get("id", 0) > 0

    async def validation(call: ToolCall, call_next: Any) -> Any:
        if not is_valid(call.name, call.args):
            raise ValueError("Invalid arguments")
        return await call_next(call)

    reached: list[int] = []

    async def counted(id: int) -> dict[str, Any]:
        reached.append(id)
        return await get_user(id)

    broker = Broker(middleware=[logging, validation], tools={"users:get": counted})
    async with broker, broker.session() as session:
        assert await session.call("users:get", {"id": 1}) == {"id": 1, "name": "Alice"}
        with pytest.raises(ToolError, match="Invalid arguments"):
            await session.call("users:get", {"id": -1})
    assert log == [
        "Tool call: users:get",
        "Completed: {'id': 1, 'name': 'Alice'}",
        "Tool call: users:get",
    ]
    assert reached == [1]


# Rate limiting


def limiter() -> RateLimiter:
    return RateLimiter(
        global_={"max_calls": 1000, "window": 60},
        per_session={"max_calls": 100, "window": 60},
        per_tool={"expensive:*": {"max_calls": 10, "window": 60}},
    )


async def test_rate_limiting() -> None:
    limits = limiter()
    expensive = [limits.allow("s_1", f"expensive:{number}") for number in range(11)]
    assert [bool(answer) for answer in expensive] == [True] * 10 + [False]
    assert 0 < expensive[-1].retry_after <= 60
    assert [bool(limits.allow("s_1", "cheap")) for _ in range(91)] == [True] * 90 + [False]
    # Ten sessions use up what there is for all.
    admitted = sum(bool(limits.allow(f"s_{n}", "cheap")) for n in range(2, 20) for _ in range(100))
    assert admitted == 900


async def test_rate_limiting_in_a_broker() -> None:
    broker = Broker(tools={"expensive:report": lambda: "report"}, limiter=limiter())
    async with broker, broker.session() as session:
        for _ in range(10):
            assert await session.call("expensive:report") == "report"
        with pytest.raises(RateLimitedError) as caught:
            await session.call("expensive:report")
        assert caught.value.scope == "tool expensive:*"
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 60
