"""The broker as an MCP server over HTTP: real connections, the SDK's client, the door before it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import httpx2
import pytest
from enclave_broker_server.settings import ServerSettings
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_served import ACCEPT, BOTH_ERAS, PATIENCE, add_tools, initialize, rpc, served

from enclave_broker_core import Broker, Principal, RateLimiter, SessionSettings


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("mode", BOTH_ERAS)


@eras
async def test_the_sdks_client_lists_calls_cancels_and_sees_progress(mode: str) -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with broker, served(broker) as server, server.client(mode=mode) as client:
        assert "users_get" in {tool.name for tool in (await client.list_tools()).tools}
        user = await client.call_tool("users_get", {"id": 1})
        assert user.structured_content == {"id": 1, "name": None}
        await client.call_tool("steps", {}, progress_callback=seen.note)
        assert [step[0] for step in seen.progress] == [1, 10, 20, 30, 31]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "wait", {})
            await seen.began.wait()
            tasks.cancel_scope.cancel()
        await seen.stopped.wait()
        failed = await client.call_tool("fail", {})
        assert failed.structured_content["code"] == "TOOL_ERROR"
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("nothing", {})


async def test_changes_come_on_the_stream_of_the_session() -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with (
        broker,
        served(broker) as server,
        server.client(message_handler=seen.notice) as client,
    ):
        await client.list_tools()
        while not seen.changed.is_set():  # the client opens its stream when it likes
            if not broker.remove_tool("more"):
                broker.tool("more")(_nothing)
            with anyio.move_on_after(0.05):
                await seen.changed.wait()
    assert set(seen.changes) == {"ToolListChangedNotification"}


async def test_changes_come_on_a_stream_that_is_listened_to() -> None:
    broker = Broker()
    add_tools(broker)
    async with (
        broker,
        served(broker) as server,
        server.client(mode="auto") as client,
        client.listen(tools_list_changed=True) as changes,
    ):
        broker.remove_tool("who")
        assert type(await anext(changes)).__name__ == "ToolsListChanged"


# Who it is


async def test_who_is_not_known_is_told_where_to_get_a_token() -> None:
    broker = Broker()
    async with (
        broker,
        served(
            broker,
            title="Our broker",
            resource="https://broker.example/mcp",
            authorization_servers=["https://login.example"],
            scopes=["tools"],
        ) as server,
        server.http(None) as http,
    ):
        refused = await initialize(http)
        url = "https://broker.example/.well-known/oauth-protected-resource/mcp"
        assert refused.status_code == 401
        assert refused.headers.get_list("www-authenticate") == [f'Bearer resource_metadata="{url}"']
        page = await http.get(httpx2.URL(url).path)
        assert page.status_code == 200
        assert page.json() == {
            "resource": "https://broker.example/mcp",
            "authorization_servers": ["https://login.example/"],
            "scopes_supported": ["tools"],
            "bearer_methods_supported": ["header"],
            "resource_name": "Our broker",
        }
        other = await http.get("/sessions")
        assert (other.status_code, other.headers["www-authenticate"]) == (401, "Bearer")


async def test_without_that_a_token_is_asked_for_as_everywhere() -> None:
    broker = Broker()
    async with broker, served(broker) as server, server.http(None) as http:
        refused = await initialize(http)
        page = await http.get("/.well-known/oauth-protected-resource/mcp")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert page.status_code == 401


@eras
async def test_a_session_is_the_callers(mode: str) -> None:
    broker = Broker()
    add_tools(broker)
    async with (
        broker,
        served(broker) as server,
        server.client("ada", mode) as ada,
        server.client("bob", mode) as bob,
    ):
        one = await ada.call_tool("who", {})
        two = await bob.call_tool("who", {})
        records = {record.principal_id: record.id for record in await broker.list_sessions()}
    assert _text(one) == f'["{records["ada"]}","ada"]'
    assert _text(two) == f'["{records["bob"]}","bob"]'


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_anothers_session_is_as_unknown_as_any(method: str) -> None:
    broker = Broker()
    add_tools(broker)
    async with (
        broker,
        served(broker) as server,
        server.http("ada") as ada,
        server.http("bob") as bob,
    ):
        session_id = (await initialize(ada)).headers["mcp-session-id"]
        answers = [
            await bob.request(
                method,
                "/mcp",
                json=rpc("tools/list") if method == "POST" else None,
                headers={**ACCEPT, "mcp-session-id": name},
            )
            for name in (session_id, "0" * 32)
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content
        assert (await _list(ada, session_id)).status_code == 200


async def test_other_roles_are_another_session_of_the_broker() -> None:
    broker = Broker()
    add_tools(broker)

    class Roles:
        async def authenticate(self, credentials: Any) -> Any:
            return Principal(id="ada", roles=frozenset({credentials.headers["authorization"]}))

    async with (
        broker,
        served(broker, authenticators=[Roles()]) as server,
        server.http("reader") as http,
    ):
        session_id = (await initialize(http)).headers["mcp-session-id"]
        await _list(http, session_id)
        [before] = await broker.list_sessions()
        http.headers["authorization"] = "writer"
        assert (await _list(http, session_id)).status_code == 200
        [after] = await broker.list_sessions()
    assert before.principal is not None
    assert after.principal is not None
    assert (before.principal.roles, after.principal.roles) == ({"reader"}, {"writer"})


# Limits


@eras
async def test_more_sessions_are_no_more_calls(mode: str) -> None:
    broker = Broker(limiter=RateLimiter(per_principal={"max_calls": 2, "window": 600}))
    add_tools(broker)
    async with broker, served(broker) as server:
        codes = []
        for _ in range(3):
            async with server.client("ada", mode) as client:
                said = await client.call_tool("say", {})
                codes.append((said.structured_content or {}).get("code"))
        async with server.client("bob", mode) as client:
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
        await _list(http, session_id)
        assert broker.stats().open_sessions == 1
        with anyio.fail_after(PATIENCE):
            while (await _list(http, session_id)).status_code != 404:  # noqa: ASYNC110
                await anyio.sleep(0.3)
        await _until(lambda: broker.stats().open_sessions == 0)


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
            await _list(http, session_id)
            call = rpc("tools/call", {"name": "wait", "arguments": {}})
            tasks.start_soon(partial(http.post, "/mcp", json=call, headers=headers))
            await seen.began.wait()
            [record] = await broker.list_sessions()
            assert (await http.delete("/mcp", headers=headers)).status_code == 200
        await seen.stopped.wait()
        session = await broker.get_session(record.id)
        final = [event async for event in session.events()][-1]
        assert final.type == "final"
        assert broker.stats().open_sessions == 0


@eras
async def test_a_server_that_is_told_to_stop_lets_idle_clients_go(mode: str) -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with (
        broker,
        served(broker) as server,
        server.client("ada", mode) as idle,
        server.client("bob", mode) as busy,
    ):
        for client in (idle, busy):
            await client.list_tools()
        answers: list[Any] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_call, busy, answers)
            await seen.began.wait()
            assert broker.stats().open_sessions == 2
            server.draining.begin()
            await _until(lambda: broker.stats().open_sessions == 1)
            async with server.http("eve") as http:
                refused = await initialize(http)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            with pytest.raises(MCPError):
                await idle.call_tool("say", {})
            seen.let_go.set()
        assert _text(answers[0]) == "let go"
        await _until(lambda: broker.stats().open_sessions == 0)


async def test_a_server_that_closes_ends_the_sessions() -> None:
    broker = Broker()
    add_tools(broker)
    async with broker:
        async with served(broker) as server, server.http() as http:
            session_id = (await initialize(http)).headers["mcp-session-id"]
            await _list(http, session_id)
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
            assert (await _list(http, session_id)).status_code == 404
            anew = (await initialize(http)).headers["mcp-session-id"]
            assert anew != session_id
            assert (await _list(http, anew)).status_code == 200


async def test_web_pages_of_allowed_origins_may_send_what_the_protocol_needs() -> None:
    broker = Broker()
    settings = ServerSettings(origins=("https://page.example",))
    async with broker, served(broker, settings=settings) as server, server.http() as http:
        origin = {"origin": "https://page.example"}
        asked = await http.options("/mcp", headers=origin)
        answer = await initialize(http, **origin)
        elsewhere = await http.options("/sessions", headers=origin)
        foreign = await initialize(http, origin="https://other.example")
    allowed = asked.headers["access-control-allow-headers"].lower().split(", ")
    assert {"mcp-session-id", "mcp-protocol-version", "authorization"} <= set(allowed)
    assert "mcp-session-id" in answer.headers["access-control-expose-headers"].lower()
    assert "mcp-session-id" not in elsewhere.headers["access-control-allow-headers"].lower()
    assert foreign.status_code == 403


async def test_a_host_that_is_not_the_servers_is_refused_by_the_door() -> None:
    broker = Broker()
    async with broker, served(broker) as server, server.http() as http:
        assert (await initialize(http, host="evil.example")).status_code == 421


async def _list(http: httpx2.AsyncClient, session_id: str) -> httpx2.Response:
    headers = {**ACCEPT, "mcp-session-id": session_id}
    await http.post("/mcp", json=_notification("notifications/initialized"), headers=headers)
    return await http.post("/mcp", json=rpc("tools/list"), headers=headers)


def _notification(method: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method}


async def _until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - it counts, it tells nobody
            await anyio.sleep(0.01)


def _text(result: Any) -> str:
    text: str = result.content[0].text
    return text


async def _call(client: Client, answers: list[Any]) -> None:
    answers.append(await client.call_tool("wait", {}))


async def _nothing() -> None: ...
