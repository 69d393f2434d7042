"""One call of an OpenAPI tool against the same request with httpx by hand, to a local server.

The tool's call goes through all of the broker: session, rules, validation, events, history and
the network guard. The server is ``http_bare``, a process of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
from brokered_call import Case

from enclave_broker_core import open_broker

HERE = Path(__file__).parent
TITLE = "one call of an OpenAPI tool against the same request by hand"
TIMES = 20
TURNS = 10
NEEDS = ("httpx", "uvicorn", "uvloop")
BARS = {"tool": 1.5}

DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "users", "version": "1"},
    "paths": {
        "/users/{id}": {
            "get": {
                "operationId": "get",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
                    {"name": "fields", "in": "query", "schema": {"type": "string"}},
                ],
            }
        }
    },
}
ANSWERS = {
    "/openapi.json": [json.dumps(DOCUMENT)],
    "/users/1": ['{"id": 1, "name": "Alice"}'],
}


@asynccontextmanager
async def cases() -> AsyncIterator[Mapping[str, Case]]:
    httpx: Any = import_module("httpx")
    command = [sys.executable, str(HERE / "http_bare.py"), json.dumps(ANSWERS)]
    async with await anyio.open_process(command, stderr=None) as server:
        assert server.stdout is not None
        url = json.loads(await server.stdout.receive())["url"]
        table = {
            "use": "openapi",
            "name": "users",
            "spec": f"{url}/openapi.json",
            "refresh": 0,
            "network": {"schemes": ["http"], "allow_private": ["loopback"]},
        }
        try:
            async with (
                httpx.AsyncClient() as client,
                open_broker({"tools": [table]}) as broker,
                broker.session() as session,
            ):

                async def by_hand(n: int) -> None:
                    for _ in range(n):
                        answer = await client.get(f"{url}/users/1", params={"fields": "name"})
                        assert answer.raise_for_status().json()["id"] == 1

                async def tool(n: int) -> None:
                    for _ in range(n):
                        user = await session.call("users:get", {"id": 1, "fields": "name"})
                        assert user["id"] == 1

                yield {"httpx": by_hand, "tool": tool}
        finally:
            server.terminate()
