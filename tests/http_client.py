"""A server as its clients see it, for tests."""

from __future__ import annotations

import json
from typing import Any

import httpx

from enclave_broker_core import Credentials, Principal

STREAM = {"Accept": "application/x-ndjson"}
JSON = {"Accept": "application/json"}


class Names:
    """Everybody is who they say they are."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        name = credentials.headers.get("authorization")
        return None if name is None else Principal(id=name, roles=frozenset({name}))


class Client:
    """The server as one caller sees it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return await self.http.post(path, json=body, headers={**STREAM, **headers})

    async def events(self, body: Any, path: str = "/sessions", **headers: str) -> list[Any]:
        answer = await self.post(path, body, **headers)
        assert answer.status_code == 200, answer.text
        return [json.loads(line) for line in answer.text.splitlines()]

    async def replay(self, session_id: str, query: str = "") -> list[Any]:
        answer = await self.http.get(f"/sessions/{session_id}/stream{query}")
        return [json.loads(line) for line in answer.text.splitlines()]
