"""Servers that others have made, as they come from npm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from enclave_broker_mcp.provider.config import McpConfig
from npm_programs import NpmPrograms
from provider_fixtures import invoke, opened

from enclave_broker_core.errors import ToolError
from enclave_broker_core.testing.contexts import RecordingContext

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def node(npm: NpmPrograms, name: str, *args: str, **more: Any) -> McpConfig:
    program, *given = npm.command(name)
    return McpConfig.model_validate(
        {"name": "npm", "command": program, "args": [*given, *args]} | more
    )


async def test_server_everything(npm: NpmPrograms) -> None:
    context = RecordingContext("npm:trigger-long-running-operation")
    async with opened(node(npm, "server-everything")) as provider:
        names = {tool.spec.name for tool in await provider.tools()}
        # What it offers only to who can be asked.
        assert not names & {"npm:get-roots-list", "npm:trigger-elicitation-request"}
        assert await invoke(provider, "npm:echo", message="hi") == "Echo: hi"
        weather = await invoke(provider, "npm:get-structured-content", location="New York")
        assert weather == {"temperature": 33, "conditions": "Cloudy", "humidity": 82}
        image = (await invoke(provider, "npm:get-tiny-image"))[1]
        assert (image["type"], image["mimeType"]) == ("image", "image/png")
        links = await invoke(provider, "npm:get-resource-links", count=2)
        assert [block["type"] for block in links] == ["text", "resource_link", "resource_link"]
        operation = {"duration": 0.1, "steps": 2}
        said = await invoke(provider, context.tool, context, **operation)
        assert "completed" in said
        with anyio.move_on_after(0.1) as scope:
            await invoke(provider, context.tool, duration=60, steps=1000)
        assert scope.cancelled_caught
    assert ("progress", "processing") in context.log_entries


async def test_server_everything_with_what_it_may_ask_for(npm: NpmPrograms) -> None:
    config = node(npm, "server-everything", roots=["/srv"], elicitation="decline")
    async with opened(config) as provider:
        assert "file:///srv" in await invoke(provider, "npm:get-roots-list")
        said = await invoke(provider, "npm:trigger-elicitation-request")
        assert "declined" in said[0]["text"]
        names = {tool.spec.name for tool in await provider.tools()}
        assert "npm:trigger-sampling-request" not in names


async def test_server_everything_over_http(npm: NpmPrograms) -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    await listener.aclose()
    command = [*npm.command("server-everything"), "streamableHttp"]
    async with await anyio.open_process(command, env={"PORT": str(port), "PATH": ""}) as process:
        try:
            config = McpConfig.model_validate(
                {
                    "name": "npm",
                    "url": f"http://127.0.0.1:{port}/mcp",
                    "network": {"schemes": ["http"], "allow_private": ["loopback"]},
                }
            )
            assert process.stderr is not None
            async for chunk in process.stderr:
                if b"listening" in chunk:
                    break
            else:
                pytest.fail("it did not listen")
            async with opened(config) as provider:
                assert await invoke(provider, "npm:get-sum", a=1, b=2) == "The sum of 1 and 2 is 3."
        finally:
            process.kill()


async def test_server_filesystem(npm: NpmPrograms, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("It is here.")
    async with opened(node(npm, "server-filesystem", str(tmp_path))) as provider:
        specs = {tool.spec.name: tool.spec for tool in await provider.tools()}
        assert specs["npm:read_text_file"].read_only
        assert specs["npm:write_file"].destructive
        path = str(tmp_path / "a.txt")
        said = await invoke(provider, "npm:read_text_file", path=path)
        assert said == {"content": "It is here."}
        with pytest.raises(ToolError, match="Access denied"):
            await invoke(provider, "npm:read_text_file", path="/etc/passwd")
        await invoke(provider, "npm:write_file", path=str(tmp_path / "b.txt"), content="New.")
    assert (tmp_path / "b.txt").read_text() == "New."
