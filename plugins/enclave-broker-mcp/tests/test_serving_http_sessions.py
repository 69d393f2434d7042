"""How many sessions MCP clients may have over HTTP, what they share, and how they end."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_served import (
    ACCEPT,
    BOTH_ERAS,
    PATIENCE,
    add_tools,
    call,
    initialize,
    listed,
    rpc,
    served,
    texts,
    until,
)

from enclave_broker_core import Broker, RateLimiter, SessionSettings


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", BOTH_ERAS)


@eras
async def test_more_sessions_are_no_more_calls(era: str) -> None:
    broker = Broker(limiter=RateLimiter(per_principal={"max_calls": 2, "window": 600}))
    add_tools(broker)
    async with broker, served(broker) as server:
        codes = []
        for _ in range(3):
            async with server.client("ada", era) as client:
                said = await client.call_tool("say", {})
                codes.append((said.structured_content or {}).get("code"))
        async with server.client("bob", era) as client:
            other = await client.call_tool("say", {})
    assert codes == [None, None, "RATE_LIMITED"]
    assert not other.is_error


async def test_one_caller_has_so_many_sessions_and_others_have_theirs() -> None:
    broker = Broker()
    add_tools(broker)
    async with (
        broker,
        served(broker, max_sessions_per_principal=2, max_sessions=3) as server,
        server.http("ada") as ada,
        server.http("bob") as bob,
    ):
        opened = [await initialize(ada) for _ in range(3)]
        assert [answer.status_code for answer in opened] == [200, 200, 429]
        assert opened[2].headers["retry-after"] == "5"
        assert opened[2].json()["error"]["message"] == "2 MCP sessions of this caller are open"
        assert [(await initialize(bob)).status_code for _ in range(2)] == [200, 503]
        ended = await ada.delete(
            "/mcp", headers={"mcp-session-id": opened[0].headers["mcp-session-id"]}
        )
        assert ended.status_code == 200
        with anyio.fail_after(PATIENCE):
            while (await initialize(ada)).status_code == 429:
                pass


async def test_an_initialize_that_fails_counts_as_the_session_that_it_is() -> None:
    broker = Broker()
    async with (
        broker,
        served(broker, max_sessions_per_principal=1) as server,
        server.http("ada") as http,
    ):
        failed = await http.post("/mcp", json=rpc("initialize", {}), headers=ACCEPT)
        assert "error" in failed.text
        assert (await initialize(http)).status_code == 429


async def test_a_session_that_nobody_uses_ends() -> None:
    broker = Broker()
    add_tools(broker)
    async with (
        broker,
        served(broker, idle_timeout=0.2) as server,
        server.http("ada") as http,
    ):
        session_id = (await initialize(http)).headers["mcp-session-id"]
        await listed(http, session_id)
        assert broker.stats().open_sessions == 1
        with anyio.fail_after(PATIENCE):
            while (await listed(http, session_id)).status_code != 404:  # noqa: ASYNC110
                await anyio.sleep(0.3)
        await until(lambda: broker.stats().open_sessions == 0)


async def test_the_brokers_own_bounds_of_sessions_hold() -> None:
    broker = Broker(sessions=SessionSettings(max_per_principal=1))
    add_tools(broker)
    async with (
        broker,
        served(broker) as server,
        server.client("ada") as one,
        server.client("ada") as two,
    ):
        assert not (await one.call_tool("say", {})).is_error
        refused = await two.call_tool("say", {})
    assert refused.structured_content["code"] == "TOO_MANY_SESSIONS"
    assert refused.structured_content["retryAfterMs"] > 0


# The end


async def test_a_session_that_its_client_ends_has_ended() -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with broker, served(broker) as server:
        async with server.http() as http, anyio.create_task_group() as tasks:
            session_id = (await initialize(http)).headers["mcp-session-id"]
            headers = {**ACCEPT, "mcp-session-id": session_id}
            await listed(http, session_id)
            body = rpc("tools/call", {"name": "wait", "arguments": {}})
            tasks.start_soon(partial(http.post, "/mcp", json=body, headers=headers))
            await seen.began.wait()
            [record] = await broker.list_sessions()
            assert (await http.delete("/mcp", headers=headers)).status_code == 200
        session = await broker.get_session(record.id)
        with anyio.fail_after(PATIENCE):
            await seen.stopped.wait()
            final = [event async for event in session.events()][-1]
        assert final.type == "final"
        assert broker.stats().open_sessions == 0


@eras
async def test_a_server_that_is_told_to_stop_lets_idle_clients_go(era: str) -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with (
        broker,
        served(broker) as server,
        server.client("ada", era) as idle,
        server.client("bob", era) as busy,
    ):
        for client in (idle, busy):
            await client.list_tools()
        answers: list[Any] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, busy, "wait", answers)
            await seen.began.wait()
            assert broker.stats().open_sessions == 2
            server.draining.begin()
            await until(lambda: broker.stats().open_sessions == 1)
            async with server.http("eve") as http:
                refused = await initialize(http)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            with pytest.raises(MCPError):
                await idle.call_tool("say", {})
            seen.let_go.set()
        assert texts(answers[0]) == ["let go"]
        await until(lambda: broker.stats().open_sessions == 0)


async def test_a_server_that_closes_ends_the_sessions() -> None:
    broker = Broker()
    add_tools(broker)
    async with broker:
        async with served(broker) as server, server.http() as http:
            session_id = (await initialize(http)).headers["mcp-session-id"]
            await listed(http, session_id)
            [record] = await broker.list_sessions()
        assert broker.stats().open_sessions == 0
        assert (await broker.get_session(record.id)).state.value == "completed"


async def test_a_session_of_another_replica_is_unknown_and_begun_anew() -> None:
    brokers = Broker(), Broker()
    for broker in brokers:
        add_tools(broker)
    async with brokers[0], brokers[1], served(brokers[0]) as one, served(brokers[1]) as two:
        async with one.http() as http:
            session_id = (await initialize(http)).headers["mcp-session-id"]
        async with two.http() as http:
            assert (await listed(http, session_id)).status_code == 404
            anew = (await initialize(http)).headers["mcp-session-id"]
            assert anew != session_id
            assert (await listed(http, anew)).status_code == 200
