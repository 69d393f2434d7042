"""Who the client is: a token that the server takes, and that is in no repr, error or log."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping

import httpx
import pytest
from anyio.from_thread import BlockingPortal
from enclave_broker_client import Client, ConnectionLostError, SyncClient, UnauthenticatedError
from server_thread import QUICK, Server, served

from enclave_broker_core import ConfigError, Principal
from enclave_broker_core.contracts import Credentials

pytestmark = pytest.mark.anyio

TOKEN = "only-for-ada-1234567890"


class Known:
    """Knows one token."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        sent = credentials.headers.get("authorization") or credentials.headers.get("x-api-key")
        return Principal(id="ada") if sent in (f"Bearer {TOKEN}", TOKEN) else None


@pytest.fixture(scope="module")
def server(portal: BlockingPortal) -> Iterator[Server]:
    with portal.wrap_async_context_manager(served(portal, authenticators=[Known()])) as server:
        yield server


async def test_a_token(server: Server) -> None:
    async with Client(server.url, token=TOKEN, settings=QUICK) as client:
        assert (await client.run("1")).unwrap() == 1
        async with client.session() as session:
            assert await session.call("test:echo", {"value": 1}) == 1


async def test_a_header(server: Server) -> None:
    headers = {"X-API-Key": TOKEN}
    async with Client(server.url, headers=headers, settings=QUICK) as client:
        assert (await client.run("1")).unwrap() == 1


@pytest.mark.parametrize("token", [None, "another"])
async def test_no_token_or_another_one(server: Server, token: str | None) -> None:
    async with Client(server.url, token=token, settings=QUICK) as client:
        assert await client.health()
        for ask in (client.run("1"), client.tools(), client.existing("s_1").info()):
            with pytest.raises(UnauthenticatedError) as caught:
                await ask
            assert caught.value.status == 401
    with (
        SyncClient(server.url, token=token, settings=QUICK) as sync,
        pytest.raises(UnauthenticatedError),
        sync.stream("1"),
    ):
        pass


async def test_it_is_shown_nowhere(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    nowhere = "http://127.0.0.1:1"
    shown = []
    headers = {"x-other": "another-secret"}
    async with Client(nowhere, token=TOKEN, headers=headers, settings=QUICK) as client:
        with pytest.raises(ConnectionLostError) as caught:
            await client.run("1")
        shown += [repr(client), repr(client._connection), repr(client.existing("s_1"))]
        shown += traceback.format_exception(caught.value)
        shown += [repr(vars(caught.value)), repr(client._asking)]
    async with Client(server.url, token=TOKEN[:-1], headers=headers, settings=QUICK) as client:
        with pytest.raises(UnauthenticatedError) as refused:
            await client.tools()
        shown += traceback.format_exception(refused.value)
    with SyncClient(nowhere, token=TOKEN, headers=headers, settings=QUICK) as sync:
        shown.append(repr(sync))
    text = "\n".join([*shown, caplog.text])
    assert TOKEN[:-1] not in text
    assert "another-secret" not in text
    assert nowhere in text


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ä" * 20, "nul\0"])
async def test_a_token_that_can_not_be_sent(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Client("http://127.0.0.1", token=token)
    assert token == "" or token not in caught.value.message


@pytest.mark.parametrize(
    "headers", [{"a b": "x"}, {"": "x"}, {"a": "x\r\nevil: 1"}, {"a": ""}, {"a": " x"}, {"ä": "x"}]
)
async def test_a_header_that_can_not_be_sent(headers: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError):
        Client("http://127.0.0.1", headers=headers)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8080",
        "ftp://127.0.0.1",
        "http://",
        "http://ada:secret@127.0.0.1",
        "http://127.0.0.1/?token=secret",
        "http://127.0.0.1/#part",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
    ],
)
async def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Client(url)
    assert "secret" not in caught.value.message


async def test_a_client_of_httpx_that_is_given(server: Server) -> None:
    async with httpx.AsyncClient(headers={"x-api-key": TOKEN}) as http:
        for _ in range(2):
            async with Client(f"{server.url}/", http=http, settings=QUICK) as client:
                assert (await client.run("1")).unwrap() == 1
        assert not http.is_closed
    with httpx.Client(headers={"x-api-key": TOKEN}) as plain:
        with SyncClient(server.url, http=plain, settings=QUICK) as sync:
            assert sync.run("1").unwrap() == 1
        assert not plain.is_closed
