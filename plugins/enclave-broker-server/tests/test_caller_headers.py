"""The caller's own Authorization: passed on only where the server and the source both want it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from enclave_broker_server.settings import ServerSettings
from http_client import JSON, Client, Names
from http_source import open_calling
from pydantic_core import to_json
from raw_http import RawServer, Received, answer, raw_server

pytestmark = pytest.mark.anyio
ANN, ROOT = "ann-0123456789", "root"
REQUESTS = [
    {"name": "passes", "url": "/a", "headers": {"Authorization": "{secret:caller:authorization}"}},
    {"name": "keeps", "url": "/b"},
]
PASSES = ServerSettings(pass_headers=("Authorization",))


async def called(client: Client, tool: str, who: str) -> Any:
    made = await client.post("/sessions/s_1/tool-calls", {"name": tool}, Authorization=who, **JSON)
    return made.json()


def reflecting(received: Received) -> bytes:
    """The service that answers with what it was shown."""
    shown = to_json(received.header("authorization"))
    return answer(200, [("Content-Type", "application/json")], shown)


@asynccontextmanager
async def served(
    serving: Any, settings: ServerSettings, **config: Any
) -> AsyncIterator[tuple[RawServer, Client]]:
    async with (
        raw_server(reflecting) as upstream,
        open_calling(upstream, *REQUESTS, config=config) as broker,
        serving(broker, authenticators=[Names()], settings=settings) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as http,
    ):
        client = Client(http)
        await client.post("/sessions", {"sessionId": "s_1"}, Authorization=ANN)
        yield upstream, client


async def test_the_service_gets_what_both_want(serving: Any) -> None:
    async with served(serving, PASSES) as (upstream, client):
        assert (await called(client, "passes", ANN))["data"] == "[secret]"
        assert (await called(client, "keeps", ANN))["data"] is None
        assert [got.header("authorization") for got in upstream.got] == [ANN, None]


async def test_a_server_that_names_no_headers_passes_none_on(serving: Any) -> None:
    async with served(serving, ServerSettings()) as (upstream, client):
        assert (await called(client, "passes", ANN))["error"]["code"] == "SECRET_ERROR"
        assert (await called(client, "keeps", ANN))["data"] is None
        assert [got.header("authorization") for got in upstream.got] == [None]


async def test_who_looks_after_others_sessions_lends_them_nothing(serving: Any) -> None:
    sessions = {"admin_roles": [ROOT]}
    async with served(serving, PASSES, sessions=sessions) as (upstream, client):
        assert (await called(client, "passes", ROOT))["ok"]
        assert [got.header("authorization") for got in upstream.got] == [ANN]
