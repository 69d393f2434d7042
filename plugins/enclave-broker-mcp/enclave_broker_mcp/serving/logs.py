"""What tools log while a call runs, told to the client that asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_args

from mcp import types
from mcp.server.connection import allowed_log_levels
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS

from enclave_broker_core.events import Event
from enclave_broker_core.session import Session

from .contexts import Context

# Events that a call may be behind another one of the same client and tell none of them again.
MOST_TOLD = 4096

_ORDER: tuple[types.LoggingLevel, ...] = get_args(types.LoggingLevel)
_LEVELS: Mapping[str, types.LoggingLevel] = MappingProxyType(
    {"debug": "debug", "info": "info", "warn": "warning", "error": "error"}
)


class Logs:
    """Those of one client: from which level on it wants them, and which it was told.

    Nothing is told before it asks, by ``logging/setLevel`` or, in the newer protocol, with the
    request. An event of the log does not say whose call it is of: of several calls at a time,
    the first that comes to it tells it, and no other one again.
    """

    def __init__(self) -> None:
        self._least: types.LoggingLevel | None = None
        self._told: dict[tuple[str, int], None] = {}

    def set_level(self, level: types.LoggingLevel) -> None:
        """Tell of this level and of what is worse, from now on."""
        self._least = level

    def wanted(self, context: Context) -> frozenset[types.LoggingLevel]:
        """The levels that the request's client is to be told of."""
        if context.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS:
            return allowed_log_levels(context.protocol_version, context.meta)
        if self._least is None:
            return frozenset()
        return frozenset(_ORDER[_ORDER.index(self._least) :])

    async def tell(self, context: Context, session: Session, event: Event) -> None:
        """An event ``log``, if its level is wanted and nobody has told it."""
        place = session.id, event.seq
        if place in self._told:
            return
        self._told[place] = None
        if len(self._told) > MOST_TOLD:
            del self._told[next(iter(self._told))]
        payload = event.payload
        level = _LEVELS[payload["level"]]
        if level not in self.wanted(context):
            return
        message, data = payload["message"], payload.get("data")
        said: Any = message if data is None else {"message": message, "data": data}
        params = types.LoggingMessageNotificationParams(level=level, data=said)
        # Deprecated in the newest revision are the SDK's own ways to send it, not the message.
        await context.session.send_notification(
            types.LoggingMessageNotification(params=params), related_request_id=context.request_id
        )
