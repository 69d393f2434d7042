"""Who may open a WebSocket: refused with an HTTP status, as any other request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from enclave_broker_server.settings import ServerSettings, StreamSettings
from sockets import Gate, Server, Serving
from websockets.exceptions import InvalidStatus

from enclave_broker_core.contracts import Credentials
from enclave_broker_core.errors import AccessDeniedError
from enclave_broker_core.models import Principal

pytestmark = pytest.mark.anyio

ADA = {"additional_headers": {"Authorization": "Bearer ada"}}
BOB = {"additional_headers": {"Authorization": "Bearer bob"}}


class Names:
    """Takes everybody's word for who they are, but for mallory's."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        kind, _, name = credentials.headers.get("authorization", "").partition(" ")
        if kind != "Bearer":
            return None
        if name == "mallory":
            raise AccessDeniedError("not you")
        return Principal(id=name)


@pytest.fixture
async def server(serving: Serving) -> AsyncIterator[Server]:
    broker = Gate().broker()
    settings = ServerSettings(streams=StreamSettings(max_per_session=2))
    async with broker, serving(broker, settings=settings, authenticators=[Names()]) as url:
        yield Server(broker, url)


async def refusal(server: Server, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused:
        async with server.opened(path, **options):
            pass
    response = refused.value.response
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = json.loads(response.body)
    assert set(body) <= {"code", "message", "details"}
    return response.status_code, body


async def adas(server: Server) -> str:
    session = await server.broker.create_session(principal=Principal(id="ada"))
    return f"/sessions/{session.id}/ws"


async def test_who_is_known_is_let_in(server: Server) -> None:
    async with server.opened(await adas(server), **ADA, origin=server.url) as socket:
        await socket.call("echo", value=1)
        assert (await socket.answer())["data"] == 1


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer mallory"}])
async def test_who_is_not_known_is_refused(server: Server, headers: dict[str, str]) -> None:
    status, body = await refusal(server, await adas(server), additional_headers=headers)
    assert (status, body["code"]) == (401, "UNAUTHENTICATED")


async def test_the_session_of_another_looks_as_if_there_were_none(server: Server) -> None:
    of_another = await refusal(server, await adas(server), **BOB)
    none = await refusal(server, "/sessions/s_none/ws", **BOB)
    strange = await refusal(server, "/sessions/none/ws", **BOB)
    assert of_another[0] == none[0] == strange[0] == 404
    assert of_another[1]["code"] == none[1]["code"] == strange[1]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
async def test_a_page_of_a_foreign_origin_is_refused(server: Server, origin: str) -> None:
    status, body = await refusal(server, await adas(server), **ADA, origin=origin)
    assert (status, body["code"]) == (403, "FORBIDDEN")


async def test_another_host_is_refused(server: Server) -> None:
    host, port = server.address
    path = await adas(server)
    elsewhere = Server(server.broker, "http://rebound.example:80")
    status, body = await refusal(elsewhere, path, **ADA, host=host, port=port)
    assert (status, body["code"]) == (421, "MISDIRECTED_REQUEST")


@pytest.mark.parametrize("filter", ["{", "[]", '{"mode":"none"}'])
async def test_a_filter_that_is_wrong_is_refused(server: Server, filter: str) -> None:
    status, body = await refusal(server, f"{await adas(server)}?filter={filter}", **ADA)
    assert (status, body["code"]) == (400, "INVALID_FILTER")


async def test_a_socket_takes_a_place_of_the_sessions_streams(server: Server) -> None:
    path = await adas(server)
    async with server.opened(path, **ADA) as one, server.opened(path, **ADA) as other:
        await one.next()
        await other.next()
        status, body = await refusal(server, path, **ADA)
    assert (status, body["code"]) == (429, "RATE_LIMITED")


async def test_a_path_that_there_is_not_is_no_socket(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with server.opened("/ws", **ADA):
            pass
    assert refused.value.response.status_code in (403, 404)


# Tickets


async def ticket(server: Server) -> tuple[str, str]:
    """A path with a ticket that ada has got for it, and without."""
    path = await adas(server)
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        answer = await client.post(
            path.replace("/ws", "/ticket"), headers={"Authorization": "Bearer ada"}
        )
    assert answer.status_code == 201
    return f"{path}?ticket={answer.json()['ticket']}", path


async def test_a_ticket_opens_a_socket_once(server: Server) -> None:
    shown, _ = await ticket(server)
    async with server.opened(shown) as socket:
        await socket.call("echo", value=1)
        assert (await socket.answer())["data"] == 1
    status, body = await refusal(server, shown)
    assert (status, body["code"]) == (401, "UNAUTHENTICATED")


async def test_a_ticket_opens_one_of_two_that_come_together(server: Server) -> None:
    shown, _ = await ticket(server)
    outcomes: list[int] = []

    async def show() -> None:
        try:
            async with server.opened(shown) as socket:
                await socket.next()
                outcomes.append(101)
        except InvalidStatus as refused:
            outcomes.append(refused.response.status_code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(show)
        tasks.start_soon(show)
    assert sorted(outcomes) == [101, 401]


async def test_a_ticket_is_for_its_session_only(server: Server) -> None:
    shown, _ = await ticket(server)
    _, other = await ticket(server)
    status, _ = await refusal(server, f"{other}?{shown.partition('?')[2]}")
    assert status == 401
    # And it is wrong even for who could come without it.
    assert (await refusal(server, f"{other}?ticket=x", **ADA))[0] == 401
