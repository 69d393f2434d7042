"""The provider contract, every sentence of it, with a service behind the tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from enclave_broker_openapi.component import open_openapi
from enclave_broker_openapi.config import OpenapiConfig
from openapi_documents import paths
from pydantic_core import to_json

from enclave_broker_core.contracts import OpenContext, ToolProvider
from enclave_broker_core.testing.contexts import RecordingContext
from enclave_broker_core.testing.providers import Example, ToolProviderSuite

TREE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}


class Service:
    """Its document, an echo of queries and bodies, and ``/wait``, which never answers."""

    def __init__(self) -> None:
        self.running = 0
        self.more = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/wait":
            await self._wait(receive)
            return
        message = await receive()
        if path == "/openapi.json":
            said: Any = self.document()
        else:
            query = scope["query_string"].decode()
            said = {"query": query, "body": message.get("body", b"").decode()}
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": to_json(said)})

    def document(self) -> dict[str, Any]:
        number = {"name": "number", "in": "query", "required": True, "schema": {"type": "integer"}}
        tree = {"schema": {"$ref": "#/components/schemas/Tree"}}
        operations: dict[str, Any] = {
            "number": {"parameters": [number]},
            "tree": {"requestBody": {"required": True, "content": {"application/json": tree}}},
            "wait": {},
        }
        document = paths(**operations, **({"more": {}} if self.more else {}))
        return document | {
            "servers": [{"url": "/"}],
            "components": {"schemas": {"Tree": TREE}},
        }

    async def _wait(self, receive: Any) -> None:
        self.running += 1
        while (await receive())["type"] != "http.disconnect":
            await anyio.lowlevel.checkpoint()
        self.running -= 1


class TestOpenapi(ToolProviderSuite):
    examples = (
        Example(
            "api:number",
            {"number": 7},
            {"query": "number=7", "body": ""},
            {"number": "no number at all"},
            "number",
        ),
        Example(
            "api:tree",
            {"body": {"name": "a", "children": [{"name": "b"}]}},
            {"query": "", "body": '{"name":"a","children":[{"name":"b"}]}'},
            {"body": {"name": "a", "children": [{"name": "much too long"}]}},
            "body",
        ),
    )

    @pytest.fixture(autouse=True)
    def _served(self, serve: Any) -> None:
        self.service = Service()
        self.url = serve(self.service)

    @asynccontextmanager
    async def open_provider(self) -> AsyncIterator[ToolProvider]:
        config = OpenapiConfig.model_validate(
            {
                "name": "api",
                "spec": f"{self.url}/openapi.json",
                "network": {"schemes": ["http"], "allow_private": ["loopback"]},
                "refresh": 0.02,
            }
        )
        async with open_openapi(config, OpenContext("api")) as provider:
            yield provider

    async def change(self) -> None:
        self.service.more = True

    # The suite's own looks at once for what another thread learns a little later.
    async def test_a_cancelled_call_is_gone_from_the_service(self) -> None:
        async with self.open_provider() as provider:
            [tool] = [tool for tool in await provider.tools() if tool.spec.name == "api:wait"]
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(tool.invoke, {}, RecordingContext("api:wait"))
                await self._until(3)
                tasks.cancel_scope.cancel()
            await self._until(0)

    async def _until(self, running: int) -> None:
        with anyio.fail_after(20):
            while self.service.running != running:  # noqa: ASYNC110
                await anyio.sleep(0.005)
