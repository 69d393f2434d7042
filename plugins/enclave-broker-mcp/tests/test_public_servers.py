"""Public servers behind a whole broker: its pipeline, and what comes of a server that is killed."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import pytest
from mcp_served import PATIENCE, direct
from npm_programs import NpmPrograms

from enclave_broker_core import Broker, open_broker
from enclave_broker_core.errors import AccessDeniedError, ToolError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def opened(npm: NpmPrograms, server: str, *args: str) -> AbstractAsyncContextManager[Broker]:
    """A broker whose rules allow all of the server's tools but those that write."""
    command, *own = npm.command(server)
    table = {"use": "mcp", "name": "npm", "command": command, "args": [*own, *args]}
    rules = [{"pattern": "npm:write_*", "allow": False}, {"pattern": "npm:*", "allow": True}]
    access = {"use": "rules", "rules": rules, "default": "deny"}
    return open_broker({"tools": [table], "access": access})


async def test_what_a_server_gives_reaches_a_client_of_the_broker_unchanged(
    npm: NpmPrograms,
) -> None:
    async with opened(npm, "server-everything") as broker, direct(broker) as client:
        image = (await client.call_tool("npm:get-tiny-image", {})).content[1]
        assert (image.type, getattr(image, "mime_type", None)) == ("image", "image/png")
        links = (await client.call_tool("npm:get-resource-links", {"count": 2})).content
        assert [block.type for block in links] == ["text", "resource_link", "resource_link"]


async def test_rules_are_asked_before_the_server(npm: NpmPrograms, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("It is here.")
    async with (
        opened(npm, "server-filesystem", str(tmp_path)) as broker,
        broker.session() as session,
    ):
        path = str(tmp_path / "a.txt")
        said = await session.call("npm:read_text_file", {"path": path})
        assert said == {"content": "It is here."}
        with pytest.raises(ToolError, match="Access denied"):
            await session.call("npm:read_text_file", {"path": "/etc/passwd"})
        with pytest.raises(AccessDeniedError):
            await session.call("npm:write_file", {"path": path, "content": "No."})
    assert (tmp_path / "a.txt").read_text() == "It is here."


@pytest.mark.skipif(sys.platform != "linux", reason="finds the server's process in /proc")
async def test_a_server_that_is_killed_comes_back(npm: NpmPrograms) -> None:
    async with opened(npm, "server-everything") as broker, broker.session() as session:
        assert await session.call("npm:echo", {"message": "a"}) == "Echo: a"
        [first] = _children()
        os.kill(first, signal.SIGKILL)
        with anyio.fail_after(PATIENCE):
            while _children() in ([], [first]):  # noqa: ASYNC110
                await anyio.sleep(0.05)
            said = None
            while said is None:
                try:
                    said = await session.call("npm:echo", {"message": "b"})
                except ToolError:  # it starts
                    await anyio.sleep(0.05)
        assert said == "Echo: b"


def _children() -> list[int]:
    """Processes of this one that run a server."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and b"server-everything" in command:
            found.append(int(path.name))
    return found
