"""What tools log, at the client that asked for it, in both eras of the protocol."""

from __future__ import annotations

from typing import Any, cast

import anyio
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp_served import PATIENCE, add_tools, direct

from enclave_broker_core import Broker, ToolContext

pytestmark = pytest.mark.anyio


class Told:
    """What a client was told."""

    def __init__(self) -> None:
        self.logs: list[tuple[str, Any]] = []

    async def __call__(self, message: Any) -> None:
        if isinstance(message, types.LoggingMessageNotification):
            self.logs.append((message.params.level, message.params.data))


def logging_broker() -> Broker:
    broker = Broker()
    add_tools(broker)

    @broker.tool("work")
    async def work(context: ToolContext, name: str = "it") -> str:
        await context.log("debug", f"{name} begins")
        await context.log("info", f"{name} is there", {"size": 3})
        await context.log("warn", f"{name} is late")
        return "done"

    return broker


async def set_level(client: Client, level: types.LoggingLevel) -> None:
    request = types.SetLevelRequest(params=types.SetLevelRequestParams(level=level))
    await client.session.send_request(request, types.EmptyResult)


async def test_logs_are_told_from_the_level_on_that_was_set() -> None:
    broker, told = logging_broker(), Told()
    async with broker, direct(broker, message_handler=told) as client:
        assert client.server_capabilities.logging is not None
        await client.call_tool("work", {})
        assert told.logs == []
        await set_level(client, "info")
        await client.call_tool("work", {})
        assert told.logs == [
            ("info", {"message": "it is there", "data": {"size": 3}}),
            ("warning", "it is late"),
        ]
        await set_level(client, "critical")
        await client.call_tool("work", {})
        assert len(told.logs) == 2


async def test_a_request_of_the_newer_protocol_asks_for_logs_itself() -> None:
    broker, told = logging_broker(), Told()
    asking = {"io.modelcontextprotocol/logLevel": "warning"}
    meta = cast(types.RequestParamsMeta, asking)
    async with broker, direct(broker, "auto", message_handler=told) as client:
        await client.call_tool("work", {})
        await client.call_tool("work", {}, meta=meta)
        await client.call_tool("work", {})
    assert told.logs == [("warning", "it is late")]


async def test_of_calls_at_the_same_time_each_log_is_told_once() -> None:
    broker, told = logging_broker(), Told()
    async with broker, direct(broker, message_handler=told) as client:
        await set_level(client, "warning")
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for name in "abcdef":
                    tasks.start_soon(client.call_tool, "work", {"name": name})
    assert sorted(told.logs) == [("warning", f"{name} is late") for name in "abcdef"]


async def test_what_code_logs_is_in_its_result_and_not_told() -> None:
    broker = logging_broker()
    async with broker, direct(broker, mode="code") as client:
        assert client.server_capabilities.logging is None
        with pytest.raises(MCPError, match="not found"):
            await set_level(client, "info")
