"""Calls and a list over stdio: ``enclave-broker mcp`` against a server of the SDK alone.

Both are processes of their own, with the same client of the SDK and the same tools. The bare one
is the SDK's low-level server, which answers with what is there already: no registry, no
validation of arguments, no session and no log.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from brokered_call import Case
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

HERE = Path(__file__).parent
TOOLS = 200

CONFIG = """
[[tools]]
use = "python"
module = "mcp_tools.py"

[logging]
level = "warning"
"""
MODULE = f"""
from enclave_broker_core import tool


def make(number):
    @tool(f"get_{{number}}", description="Look a user up.", read_only=True)
    async def get(id: int) -> dict[str, object]:
        return {{"id": id, "name": "Alice"}}

    return get


for number in range({TOOLS}):
    globals()[f"get_{{number}}"] = make(number)
"""


@asynccontextmanager
async def clients() -> AsyncIterator[tuple[Client, Client]]:
    """Of the bare server and of the broker."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "broker.toml").write_text(CONFIG)
        (Path(folder) / "mcp_tools.py").write_text(MODULE)
        program = str(Path(sys.executable).with_name("enclave-broker"))
        bare = _server([sys.executable, str(HERE / "mcp_bare.py"), str(TOOLS)], folder)
        broker = _server([program, "mcp"], folder)
        async with (
            Client(stdio_client(bare), mode="legacy") as floor,
            Client(stdio_client(broker), mode="legacy") as brokered,
        ):
            by_sdk, by_broker = [await client.session.list_tools() for client in (floor, brokered)]
            # A client has more to do where a tool's result has a schema.
            assert by_sdk.tools == by_broker.tools
            assert len(by_sdk.tools) == TOOLS
            yield floor, brokered


def _server(command: Sequence[str], folder: str) -> StdioServerParameters:
    program, *arguments = command
    return StdioServerParameters(command=program, args=arguments, cwd=folder)


def calls(client: Client) -> Case:
    async def case(n: int) -> None:
        for _ in range(n):
            answer = await client.call_tool("get_1", {"id": 1})
            assert answer.structured_content == {"id": 1, "name": "Alice"}

    return case


def lists(client: Client) -> Case:
    async def case(n: int) -> None:
        for _ in range(n):
            assert len((await client.session.list_tools()).tools) == TOOLS

    return case


@asynccontextmanager
async def called() -> AsyncIterator[Mapping[str, Case]]:
    """The cases of *mcp_call*."""
    async with clients() as (bare, broker):
        yield {"SDK": calls(bare), "broker": calls(broker)}


@asynccontextmanager
async def listed() -> AsyncIterator[Mapping[str, Case]]:
    """The cases of *mcp_list*."""
    async with clients() as (bare, broker):
        yield {"SDK": lists(bare), "broker": lists(broker)}
