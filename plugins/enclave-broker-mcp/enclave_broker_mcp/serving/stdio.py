"""The broker as an MCP server for the one client at the other end of stdin and stdout."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import anyio
from mcp.server.context import CallNext, HandlerResult
from mcp.server.stdio import stdio_server

from enclave_broker_core.broker import Broker
from enclave_broker_core.models import Principal

from .changes import tell_of_changes
from .contexts import Context, connection_of
from .seats import Seat, Visit
from .server import BrokerServer
from .settings import ServingConfig
from .standard_streams import standard_streams

# What a message has besides the arguments of a call.
ENVELOPE = 64 * 1024
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class StdioServer(BrokerServer):
    """A server of one client, all of whose requests have one seat."""

    def __init__(self, config: ServingConfig, broker: Broker, principal: Principal) -> None:
        self.seat = Seat(config)
        self._visit = Visit(broker, principal, self.seat, NO_HEADERS)
        super().__init__(config, self._visited)
        self.middleware.append(self._connected)

    def _visited(self, context: Context) -> Visit:
        return self._visit

    async def _connected(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        if ctx.method == "initialize":
            self.seat.connection = connection_of(ctx)
        return await call_next(ctx)


async def serve_stdio(config: ServingConfig, broker: Broker, principal: Principal) -> None:
    """Serve until the client closes stdin; cancelling ends it at once."""
    server = StdioServer(config, broker, principal)
    most = broker.limits.max_argument_bytes + ENVELOPE
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tell_of_changes, broker, lambda: [server.seat])
        try:
            with standard_streams(most) as (stdin, stdout):
                async with stdio_server(stdin, stdout) as (reading, writing):
                    await server.run(reading, writing, server.create_initialization_options())
        finally:
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await server.seat.close()
