"""The SDK's server, with a broker behind it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from importlib_metadata import version
from mcp import types
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.models import ToolSpec

from .calls import call_tool
from .code_mode import CodeMode
from .contexts import Context
from .listing import Listing
from .results import failed, protocol_error, unknown_tool
from .seats import Visit
from .settings import ServingConfig

_log = logging.getLogger(__name__)

Visiting = Callable[[Context], Visit]


class BrokerServer(Server[Any]):
    """Lists the tools that a visitor may use, and calls them in the visitor's session."""

    def __init__(self, config: ServingConfig, visiting: Visiting) -> None:
        super().__init__(
            config.name,
            version=version("enclave-broker-mcp"),
            title=config.title,
            instructions=config.instructions,
            on_list_tools=self._list,
            on_call_tool=self._call,
            on_subscriptions_listen=self._listen,
            get_tool_input_schema=self._input_schema,
        )
        self._config = config
        self._visiting = visiting
        self._listing = Listing(config.page_size)
        self._code = CodeMode(config)
        self.middleware.append(_guarded)
        if config.mode != "code":  # what code logs is in the result
            # By name: for what the newest revision has no longer, the argument warns.
            self.add_request_handler(
                "logging/setLevel", types.SetLevelRequestParams, self._set_level
            )

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        options = notification_options or NotificationOptions(
            tools_changed=self._config.mode != "code"
        )
        return super().create_initialization_options(options, experimental_capabilities, extensions)

    async def _list(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        visit, mode = self._visiting(context), self._config.mode
        with visit.seat.held():
            own = {} if mode == "tools" else self._code.tools(visit.broker)
            if mode == "code":
                return self._listing.page({}, None if params is None else params.cursor, own)
            tools = await _shown(visit)
            return self._listing.page(tools, None if params is None else params.cursor, own)

    async def _call(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        visit, mode = self._visiting(context), self._config.mode
        name = params.name
        arguments: Mapping[str, Any] = params.arguments or {}
        is_own = mode != "tools" and name in self._code.tools(visit.broker)
        if mode == "code" and not is_own:
            raise unknown_tool(name)
        try:
            with visit.seat.called():
                session = await visit.session()
                if is_own:
                    return await self._code.call(context, visit.broker, session, name, arguments)
                return await call_tool(context, session, visit.seat.logs, name, arguments)
        except BrokerError as error:
            return failed(error)

    async def _set_level(
        self, context: Context, params: types.SetLevelRequestParams
    ) -> types.EmptyResult:
        self._visiting(context).seat.logs.set_level(params.level)
        return types.EmptyResult()

    async def _listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        return await self._visiting(context).seat.listen(context, params)

    def _input_schema(self, name: str) -> Mapping[str, Any] | None:
        return self._listing.input_schema(name)


async def _shown(visit: Visit) -> Mapping[str, ToolSpec]:
    """The tools that the client is shown now, and is told of when they change."""
    broker, session = visit.broker, await visit.session()
    while True:
        version = broker.catalog_version
        tools = await broker.visible_tools(session=session)
        if broker.catalog_version == version:  # else the change might be told before it is asked
            visit.seat.listed = tools
            return tools


async def _guarded(ctx: Context, call_next: CallNext) -> HandlerResult:
    """What was not foreseen is for the log: the SDK would tell the client its text."""
    try:
        return await call_next(ctx)
    except (MCPError, ValidationError):
        raise
    except BrokerError as error:
        raise protocol_error(error) from None
    except Exception:
        _log.exception("the MCP request %s failed", ctx.method)
        raise MCPError(types.INTERNAL_ERROR, "something failed here") from None
