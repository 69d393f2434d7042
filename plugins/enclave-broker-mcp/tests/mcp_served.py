"""A broker as an MCP server, in this process or on a port, and the SDK's own clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import mcp_types as types
from enclave_broker_mcp.serving.changes import tell_of_changes
from enclave_broker_mcp.serving.opening import open_mcp_routes
from enclave_broker_mcp.serving.settings import HttpConfig, ServingConfig
from enclave_broker_mcp.serving.stdio import StdioServer
from enclave_broker_server.app import create_app
from enclave_broker_server.draining import Draining
from enclave_broker_server.listening import listen, serving_at, url_of
from enclave_broker_server.settings import ServerSettings
from http_client import Names
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.memory import create_client_server_memory_streams

from enclave_broker_core import Broker, Principal, ToolContext
from enclave_broker_core.contracts import Authenticator, OpenContext

PATIENCE = 20.0
BOTH_ERAS = ("legacy", "auto")
ADA = Principal(id="ada", roles=frozenset({"ada"}))


@dataclass
class Seen:
    """What the tools of a test have come to."""

    began: anyio.Event = field(default_factory=anyio.Event)
    stopped: anyio.Event = field(default_factory=anyio.Event)
    let_go: anyio.Event = field(default_factory=anyio.Event)
    progress: list[tuple[float, float | None, str | None]] = field(default_factory=list)
    changes: list[Any] = field(default_factory=list)
    changed: anyio.Event = field(default_factory=anyio.Event)

    async def note(self, progress: float, total: float | None, message: str | None) -> None:
        """For ``progress_callback``."""
        self.progress.append((progress, total, message))

    async def notice(self, message: Any) -> None:
        """For ``message_handler``."""
        self.changes.append(type(message).__name__)
        self.changed.set()


def add_tools(broker: Broker, seen: Seen | None = None) -> Seen:
    """Tools of all kinds."""
    seen = seen or Seen()

    @broker.tool("users:get", read_only=True, idempotent=True)
    async def get(id: int) -> dict[str, object]:
        """Look a user up."""
        return {"id": id, "name": None}

    @broker.tool("users:drop", destructive=True)
    async def drop(id: int) -> list[int]:
        return [id]

    @broker.tool("say")
    async def say(text: str = "") -> str:
        return text

    @broker.tool("fail")
    async def fail() -> None:
        raise ValueError("it does not work")

    @broker.tool("steps")
    async def steps(context: ToolContext) -> str:
        await context.progress("connecting")
        for done in (10, 20, 30, 30):
            await context.progress("receiving", bytes_received=done, total_bytes=30)
        await context.progress("processing")
        return "done"

    @broker.tool("wait")
    async def wait() -> str:
        seen.began.set()
        try:
            await seen.let_go.wait()
        finally:
            seen.stopped.set()
        return "let go"

    @broker.tool("who")
    async def who(context: ToolContext) -> list[str | None]:
        principal = context.session.principal
        return [context.session.id, principal and principal.id]

    return seen


@asynccontextmanager
async def direct(
    broker: Broker,
    era: str = "legacy",
    *,
    principal: Principal = ADA,
    message_handler: Callable[[Any], Any] | None = None,
    **config: Any,
) -> AsyncIterator[Client]:
    """A client in this process, of the server that the command ``mcp`` has, without its pipes."""
    server = StdioServer(ServingConfig(**config), broker, principal)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell_of_changes, broker, lambda: [server.seat])
        async with Client(_wire_to(server), mode=era, message_handler=message_handler) as client:
            with anyio.fail_after(PATIENCE):
                yield client
        await server.seat.close()
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _wire_to(server: StdioServer) -> AsyncIterator[Any]:
    async with (
        create_client_server_memory_streams() as (theirs, ours),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(server.run, *ours, server.create_initialization_options())
        yield theirs
        await theirs[1].aclose()


@dataclass
class Served:
    """A server: where it is, and what it is told when it is to stop."""

    url: str
    draining: Draining

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    @asynccontextmanager
    async def client(
        self,
        name: str = "ada",
        era: str = "legacy",
        *,
        message_handler: Callable[[Any], Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Client]:
        """A client of the SDK that says who it is."""
        async with self.http(name, headers=headers) as http:
            transport = streamable_http_client(self.mcp, http_client=http)
            async with Client(transport, mode=era, message_handler=message_handler) as client:
                with anyio.fail_after(PATIENCE):
                    yield client

    def http(
        self, name: str | None = "ada", *, headers: Mapping[str, str] | None = None
    ) -> httpx2.AsyncClient:
        """A plain HTTP client that says who it is."""
        given = {} if name is None else {"authorization": name}
        return httpx2.AsyncClient(
            base_url=self.url, headers={**given, **(headers or {})}, timeout=PATIENCE
        )


@asynccontextmanager
async def served(
    broker: Broker,
    *,
    settings: ServerSettings | None = None,
    authenticators: Sequence[Authenticator] = (Names(),),
    **config: Any,
) -> AsyncIterator[Served]:
    """An open broker on a port, for callers who say their name in ``Authorization``."""
    settings = settings or ServerSettings()
    async with open_mcp_routes(HttpConfig(**config), OpenContext("mcp")) as routes:
        sockets = listen("127.0.0.1", 0)
        draining = Draining(settings.drain_timeout)
        app = create_app(
            broker,
            authenticators=authenticators,
            settings=settings,
            routes=routes,
            draining=draining,
        )
        async with serving_at(sockets, app, settings):
            yield Served(url_of(*sockets[0].getsockname()), draining)


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
ACCEPT = {"accept": "application/json, text/event-stream"}


async def initialize(http: httpx2.AsyncClient, **headers: str) -> httpx2.Response:
    """Open an MCP session by hand."""
    return await http.post("/mcp", json=INITIALIZE, headers={**ACCEPT, **headers})


def rpc(method: str, params: Mapping[str, Any] | None = None, id: int = 2) -> dict[str, Any]:
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": id, "method": method}
    return message if params is None else {**message, "params": dict(params)}


async def listed(http: httpx2.AsyncClient, session_id: str) -> httpx2.Response:
    """Ask for the tools in a session that was opened by hand."""
    headers = {**ACCEPT, "mcp-session-id": session_id}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await http.post("/mcp", json=ready, headers=headers)
    return await http.post("/mcp", json=rpc("tools/list"), headers=headers)


def texts(result: types.CallToolResult) -> list[str]:
    """The texts of a result."""
    return [item.text for item in result.content if isinstance(item, types.TextContent)]


async def call(client: Client, name: str, answers: list[types.CallToolResult]) -> None:
    """Call a tool in a task of its own."""
    answers.append(await client.call_tool(name, {}))


async def until(holds: Callable[[], bool]) -> None:
    """Return when it holds; for what tells nobody."""
    with anyio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.01)
