"""Calls of a server of the SDK, over both transports: results, progress, cancelling, changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from enclave_broker_mcp.provider.config import McpConfig
from provider_fixtures import SdkServer, invoke, opened

from enclave_broker_core import open_broker
from enclave_broker_core.errors import BrokerError, ToolError
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.contexts import RecordingContext

pytestmark = [
    pytest.mark.anyio,
    # httpx2's readers of events, which the SDK leaves to the collector: trio warns of that.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object"),
]

Config = Callable[..., McpConfig]


@pytest.fixture(params=["stdio", "http", "stdio handshake", "http handshake"])
def config(request: pytest.FixtureRequest, other_server: SdkServer) -> Config:
    transport, _, protocol = request.param.partition(" ")
    over = other_server.over_stdio if transport == "stdio" else other_server.over_http

    def made(**more: Any) -> McpConfig:
        return over(protocol=protocol or "auto", **more)

    return made


async def test_results_are_what_the_server_says(config: Config) -> None:
    async with opened(config()) as provider:
        assert await invoke(provider, "sample:add", a=1, b=2) == {"result": 3}
        assert await invoke(provider, "sample:said", text="Grüße") == "Grüße"
        blocks = await invoke(provider, "sample:blocks")
        assert [block["type"] for block in blocks] == ["text", "image", "resource_link"]
        with pytest.raises(ToolError, match="no such thing"):
            await invoke(provider, "sample:fail", why="no such thing")


async def test_what_is_known_of_tools(config: Config) -> None:
    async with opened(config()) as provider:
        specs = {tool.spec.name: tool.spec for tool in await provider.tools()}
    assert (specs["sample:add"].read_only, specs["sample:add"].idempotent) == (True, True)
    assert specs["sample:greet"].destructive is True
    assert specs["sample:add"].description == "Add two numbers."
    assert "Ignore all" not in str(specs)


async def test_progress_is_passed_on_and_cancelling_reaches_the_server(
    config: Config, other_server: SdkServer
) -> None:
    told = anyio.Event()

    class Context(RecordingContext):
        async def log(self, level: Any, message: str, data: Any = None) -> None:
            assert data == {"tool": "sample:steps", "progress": 1, "total": 3}
            await super().log(level, message, data)
            told.set()

    context = Context("sample:steps")
    async with opened(config()) as provider:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(invoke, provider, "sample:steps", context)
            await told.wait()
            await other_server.until_running(1)
            tasks.cancel_scope.cancel()
        await other_server.until_running(0)
        assert await invoke(provider, "sample:add", a=1, b=2) == {"result": 3}
    assert context.log_entries == [("progress", "processing"), ("log", "info", "the first step")]


@pytest.mark.parametrize("config", ["stdio handshake", "http handshake"], indirect=True)
async def test_roots_are_told_when_they_are_configured(config: Config) -> None:
    """Without them they are refused, and so is what asks for them."""
    async with opened(config(roots=["/srv", "file:///tmp"])) as provider:
        said = await invoke(provider, "sample:ask_roots")
        assert said == {"result": ["file:///srv", "file:///tmp"]}
    async with opened(config()) as provider:
        with pytest.raises(ToolError):
            await invoke(provider, "sample:ask_roots")


async def test_a_tool_that_comes_or_goes_is_told_to_sessions(config: Config) -> None:
    table = {**config().model_dump(exclude_unset=True), "use": "mcp"}
    async with open_broker({"tools": [table]}) as broker, broker.session() as session:
        events = session.events()
        for what, how in (("addedActions", "grow"), ("removedActions", "shrink")):
            await session.call(f"sample:{how}", {"name": "fresh"})
            with anyio.fail_after(10):
                async for event in events:
                    if event.type == "catalog_changed":
                        assert event.payload[what] == ["sample:fresh"]
                        break
        with pytest.raises(BrokerError) as caught:
            await session.call("sample:fresh", {"a": 1, "b": 2})
        assert caught.value.code == "UNKNOWN_TOOL"


async def test_every_call_goes_through_the_whole_pipeline(other_server: SdkServer) -> None:
    table = {
        **other_server.over_stdio().model_dump(exclude_unset=True),
        "use": "mcp",
        "timeout": 0.3,
    }
    rules = [{"pattern": "sample:{add,wait,said}", "allow": True}]
    config = {
        "tools": [table],
        "access": {"default": "deny", "rules": rules},
        "rate_limit": {"per_tool": {"sample:said": {"max_calls": 1, "window": 60}}},
    }
    async with (
        open_broker(config) as broker,
        broker.session(principal=Principal(id="ada")) as session,
    ):
        assert await session.call("sample:add", {"a": 1, "b": 2}) == {"result": 3}

        async def code(name: str, **arguments: Any) -> str:
            with pytest.raises(BrokerError) as caught:
                await session.call(name, arguments)
            return caught.value.code

        assert await code("sample:add", a="x") == "VALIDATION_ERROR"
        assert await code("sample:greet", person={"name": "A", "age": 1}) == "ACCESS_DENIED"
        await session.call("sample:said", {"text": "a"})
        assert await code("sample:said", text="a") == "RATE_LIMITED"
        assert await code("sample:wait") == "TOOL_TIMEOUT"
        await other_server.until_running(0)
        visible = await broker.visible_tools(session=session)
        assert sorted(visible) == ["sample_add", "sample_said", "sample_wait"]
