"""The provider contract, every sentence of it, with a server of the SDK behind the tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from enclave_broker_mcp.provider.config import McpConfig
from enclave_broker_mcp.provider.opening import open_server
from provider_fixtures import SdkServer

from enclave_broker_core.contracts import OpenContext, ToolProvider
from enclave_broker_core.testing.contexts import RecordingContext
from enclave_broker_core.testing.providers import Example, ToolProviderSuite


class Suite(ToolProviderSuite):
    examples = (
        Example("sample:add", {"a": 1, "b": 2}, {"result": 3}, {"a": "no number", "b": 2}, "a"),
        Example(
            "sample:greet",
            {"person": {"name": "Ada", "age": 36}},
            {"name": "Ada", "age": 36},
            {"person": "just-a-text"},
            "person",
        ),
    )
    config: McpConfig
    provider: ToolProvider
    grown = 0

    @asynccontextmanager
    async def open_provider(self) -> AsyncIterator[ToolProvider]:
        async with open_server(self.config, OpenContext("sample")) as provider:
            self.provider = provider
            yield provider

    async def change(self) -> None:
        Suite.grown += 1
        tools = {tool.spec.name: tool for tool in await self.provider.tools()}
        grow = tools["sample:grow"]
        arguments = grow.validate(b'{"name": "grown_%d"}' % Suite.grown)
        await grow.invoke(arguments, RecordingContext("sample:grow"))


class TestStdio(Suite):
    @pytest.fixture(autouse=True)
    def _configured(self, other_server: SdkServer) -> None:
        self.config = other_server.over_stdio()


class TestHttp(Suite):
    @pytest.fixture
    def anyio_backend(self) -> str:
        """One loop: on both, calls over HTTP are in tests of their own."""
        return "asyncio"

    @pytest.fixture(autouse=True)
    def _configured(self, other_server: SdkServer) -> None:
        self.config = other_server.over_http()
