"""One ``tools/call`` of the catalog, through the broker's whole pipeline."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import Any

from mcp import types

from enclave_broker_core.errors import BrokerError, UnknownToolError
from enclave_broker_core.events import Event
from enclave_broker_core.session import Session

from .contexts import Context, wants_progress
from .logs import Logs
from .progress import Followed, Progress
from .results import failed, succeeded, unknown_tool


async def call_tool(
    context: Context,
    session: Session,
    logs: Logs,
    name: str,
    arguments: Mapping[str, Any] | None,
) -> types.CallToolResult:
    """Its result, or its error as a tool's error; MCPError for a name that is no tool's."""
    try:
        if wants_progress(context) or logs.wanted(context):
            result = await _followed(context, session, logs, name, arguments)
        else:
            result = await session.call(name, arguments)
    except UnknownToolError as error:
        # A tool that is there may have called one that is not: that is its own error.
        if not await _is_shown(session, name):
            raise unknown_tool(name) from None
        return failed(error)
    except BrokerError as error:
        return failed(error)
    return succeeded(result)


async def _is_shown(session: Session, name: str) -> bool:
    visible = await session.visible_tools()
    return name in visible or any(spec.name == name for spec in visible.values())


async def _followed(
    context: Context,
    session: Session,
    logs: Logs,
    name: str,
    arguments: Mapping[str, Any] | None,
) -> Any:
    progress = Progress(context)
    call_id = ""

    def begin() -> Coroutine[Any, Any, Any]:
        nonlocal call_id
        calling = session.call(name, arguments)
        call_id = session.last_call_id
        return calling

    async def see(event: Event) -> bool:
        if event.type == "log":
            await logs.tell(context, session, event)
            return False
        if event.type not in ("tool_progress", "tool_result_applied"):
            return False
        payload = event.payload
        if payload["callId"] != call_id:
            return False
        if event.type == "tool_progress":
            await progress.of_tool(payload)
        return event.type == "tool_result_applied"

    return await Followed(session, see).run(begin)
