"""The broker as an MCP server over HTTP: real connections, the SDK's client, the door before it."""

from __future__ import annotations

from typing import Any

import anyio
import httpx2
import pytest
from enclave_broker_server.settings import ServerSettings
from mcp.shared.exceptions import MCPError
from mcp_served import ACCEPT, BOTH_ERAS, add_tools, initialize, listed, rpc, served, texts

from enclave_broker_core import Broker, Credentials, Principal, ToolContext


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", BOTH_ERAS)


@eras
async def test_the_sdks_client_lists_calls_cancels_and_sees_progress(era: str) -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with broker, served(broker) as server, server.client(era=era) as client:
        assert "users_get" in {tool.name for tool in (await client.list_tools()).tools}
        user = await client.call_tool("users_get", {"id": 1})
        assert user.structured_content == {"id": 1, "name": None}
        await client.call_tool("steps", {}, progress_callback=seen.note)
        assert [step[0] for step in seen.progress] == [1, 10, 20, 30, 31, 32]
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
        server.client(era="auto") as client,
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
async def test_a_session_is_the_callers(era: str) -> None:
    broker = Broker()
    add_tools(broker)
    async with (
        broker,
        served(broker) as server,
        server.client("ada", era) as ada,
        server.client("bob", era) as bob,
    ):
        one = await ada.call_tool("who", {})
        two = await bob.call_tool("who", {})
        records = {record.principal_id: record.id for record in await broker.list_sessions()}
    assert texts(one) == [f'["{records["ada"]}","ada"]']
    assert texts(two) == [f'["{records["bob"]}","bob"]']


class Tenants:
    """Everybody is who they say they are, and of the tenant that they say."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        tenant, _, name = credentials.headers["authorization"].rpartition("/")
        return Principal(id=name, tenant=tenant or None)


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_anothers_session_is_as_unknown_as_any(method: str) -> None:
    broker = Broker()
    add_tools(broker)
    async with (
        broker,
        served(broker, authenticators=[Tenants()]) as server,
        server.http("acme/ada") as ada,
    ):
        session_id = (await initialize(ada)).headers["mcp-session-id"]
        for name in ("acme/bob", "other/ada", "ada"):
            async with server.http(name) as other:
                answers = [
                    await other.request(
                        method,
                        "/mcp",
                        json=rpc("tools/list") if method == "POST" else None,
                        headers={**ACCEPT, "mcp-session-id": asked},
                    )
                    for asked in (session_id, "0" * 32)
                ]
            assert [answer.status_code for answer in answers] == [404, 404]
            assert answers[0].content == answers[1].content
        assert (await listed(ada, session_id)).status_code == 200


async def test_no_sessions_id_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker()
    add_tools(broker)
    caplog.set_level("INFO")
    async with broker, served(broker) as server, server.http() as http:
        session_id = (await initialize(http)).headers["mcp-session-id"]
        await listed(http, session_id)
        await http.delete("/mcp", headers={"mcp-session-id": session_id})
        await listed(http, session_id)
    assert "/mcp 404" in caplog.text
    assert session_id not in caplog.text


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
        await listed(http, session_id)
        [before] = await broker.list_sessions()
        http.headers["authorization"] = "writer"
        assert (await listed(http, session_id)).status_code == 200
        [after] = await broker.list_sessions()
    assert before.principal is not None
    assert after.principal is not None
    assert (before.principal.roles, after.principal.roles) == ({"reader"}, {"writer"})


@eras
async def test_tools_may_pass_on_the_headers_that_the_server_lets_them(era: str) -> None:
    broker = Broker()

    @broker.tool("passed", secrets=["caller:x-token"])
    async def passed(context: ToolContext) -> int:
        return len(context.secret("caller:x-token"))

    settings = ServerSettings(pass_headers=("x-token",))
    async with (
        broker,
        served(broker, settings=settings) as server,
        server.client(era=era, headers={"x-token": "one-two-three"}) as client,
    ):
        assert texts(await client.call_tool("passed", {})) == ["13"]


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


async def _nothing() -> None: ...
