"""The conformance suite, on requests to a server."""

from __future__ import annotations

import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from anyio.abc import ByteStream, SocketAttribute
from enclave_broker_http.config import HttpConfig
from enclave_broker_http.provider import HttpTools, open_http
from pydantic_core import to_json
from raw_http import Received, answer, raw_server

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.providers import Example, ToolProviderSuite


def is_open(server_side: socket.socket) -> bool:
    """Whether the client still has its side of the connection: it sends nothing but the end."""
    return server_side.fileno() >= 0 and select.select([server_side], [], [], 0)[0] == []


class TestHttpTools(ToolProviderSuite):
    examples = (
        Example(
            "users:get",
            {"id": 7},
            {"target": "/users/7?lang=de", "body": ""},
            {"id": "not-a-number"},
            "id",
        ),
        Example(
            "users:add",
            {"user": {"name": "Ada", "tags": ["a", "b"]}, "lang": "en"},
            {"target": "/users?lang=en", "body": '{"name":"Ada","tags":["a","b"]}'},
            {"user": "just-a-text", "lang": "en"},
            "user",
        ),
    )
    waiting = ("wait", {})
    secrets: ClassVar[dict[str, str]] = {"TOKEN": "a-secret-token"}

    @asynccontextmanager
    async def open_provider(self) -> AsyncIterator[HttpTools]:
        self._waiting: list[socket.socket] = []

        async def handle(received: Received, stream: ByteStream) -> None:
            assert received.header("authorization") == "Bearer a-secret-token"
            if received.target.startswith("/wait"):
                self._waiting.append(stream.extra(SocketAttribute.raw_socket))
                await stream.receive()
            said = {"target": received.target, "body": received.body.decode()}
            await stream.send(answer(200, [("Content-Type", "application/json")], to_json(said)))

        async with raw_server(handle) as server:
            config = HttpConfig.model_validate(
                {
                    "base_url": server.url,
                    "network": {"schemes": ["http"], "allow_private": ["loopback"]},
                    "auth": {"type": "bearer", "token": "{secret:TOKEN}"},
                    "requests": [
                        {
                            "name": "users:get",
                            "url": "/users/{id}{?lang}",
                            "parameters": {
                                "id": "integer",
                                "lang": {"type": "string", "default": "de"},
                            },
                        },
                        {
                            "name": "users:add",
                            "method": "POST",
                            "url": "/users{?lang}",
                            "parameters": {"user": "object", "lang": "string?"},
                            "body": {"json": "{user}"},
                        },
                        {"name": "wait", "url": "/wait"},
                    ],
                }
            )
            async with open_http(config, OpenContext("crm")) as provider:
                yield provider

    def running(self) -> int:
        return sum(is_open(one) for one in self._waiting)

    async def test_a_source_is_named(self) -> None:
        async with self._open() as (_, tools):
            assert {tool.spec.source for tool in tools.values()} == {"crm"}
            assert {tool.spec.secrets for tool in tools.values()} == {("TOKEN",)}
