"""The protocol's side of a connection: what is negotiated, and what a server may ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp.client.session import (
    ClientRequestContext,
    ClientSession,
    ElicitationFnT,
    IncomingMessage,
    ListRootsFnT,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from pydantic import FileUrl, ValidationError

from .codes import UNREACHABLE
from .config import McpConfig
from .errors import ServerError
from .gate import Incoming, Outgoing


class ToolSession(ClientSession):
    """A session that has nothing checked by a server's own schema in the SDK's way.

    That way is Python's regular expressions, and a pattern of a server's may take them years.
    """

    async def validate_tool_result(self, name: str, result: types.CallToolResult) -> None:
        return


def make_session(
    incoming: Incoming,
    outgoing: Outgoing,
    config: McpConfig,
    base_dir: str,
    tools_changed: Callable[[], None],
) -> ToolSession:
    """A session that has not begun. What is not configured is not offered to the server."""

    async def heard(message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            tools_changed()

    return ToolSession(
        dispatcher=JSONRPCDispatcher(incoming, outgoing),
        list_roots_callback=_roots(config.roots, base_dir) if config.roots else None,
        elicitation_callback=_declining() if config.elicitation == "decline" else None,
        message_handler=heard,
        client_info=types.Implementation(
            name="enclave-broker", version=version("enclave-broker-mcp")
        ),
    )


async def negotiate(session: ToolSession, config: McpConfig) -> None:
    """Agree on a revision of the protocol. ServerError when there is none."""
    try:
        if config.protocol == "auto":
            try:
                await session.discover()
                return
            except (MCPError, RuntimeError, ValidationError) as problem:
                # It is an old server's answer, unless there was none.
                if isinstance(problem, MCPError) and problem.code == UNREACHABLE:
                    raise
        await session.initialize()
    except (RuntimeError, ValidationError):
        raise ServerError("it speaks no revision of the protocol that is known here") from None


def _roots(folders: Sequence[str], base_dir: str) -> ListRootsFnT:
    uris = [text if "://" in text else Path(base_dir, text).resolve().as_uri() for text in folders]
    roots = [types.Root(uri=FileUrl(uri)) for uri in uris]

    async def answer(context: ClientRequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=roots)

    return answer


def _declining() -> ElicitationFnT:
    async def answer(context: ClientRequestContext, params: Any) -> types.ElicitResult:
        return types.ElicitResult(action="decline")

    return answer
