"""The door: what holds for every request before any handler sees it, and after."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping
from itertools import chain
from secrets import token_hex

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.route_traits import RouteTraits

from .access_log import AccessLog
from .answers import Answer, Header, HttpError
from .body import Gone, header, index_headers
from .identity import Caller, Identity
from .origins import Origins, cors, preflight
from .plugin_routes import PluginRoutes
from .settings import DoorLimits
from .tracing import RequestTracing

_log = logging.getLogger(__name__)

PUBLIC = frozenset({"/health", "/ready", "/openapi.json"})
TICKETED = re.compile(r"/sessions/(s_[A-Za-z0-9_-]{1,64})/(?:stream|ws)")
REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
SAFE: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Door:
    """Wraps the routes: Host and Origin, who calls, request ids, CORS, the access log.

    What goes wrong behind it is answered here; nothing of a traceback leaves the server.
    The caller is in ``scope["enclave.caller"]``, the broker in ``scope["enclave.broker"]``.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: DoorLimits,
        origins: Origins,
        identity: Identity,
        tracing: RequestTracing,
        plugins: PluginRoutes,
    ) -> None:
        self._app = app
        self._limits = limits
        self._origins = origins
        self._identity = identity
        self._tracing = tracing
        self._plugins = plugins
        self._access_log = AccessLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        index_headers(scope)
        sending = _Sending(send, _request_id(scope))
        scope["app"] = self  # the router then raises what it can't serve, and Door answers it
        scope["enclave.request_id"] = sending.request_id.decode()
        try:
            await self._enter(scope, receive, sending)
        except Gone:
            pass
        except HttpError as refused:
            await self._refuse(refused, scope, receive, sending)
        except HTTPException as refused:
            await self._refuse(_not_served(refused), scope, receive, sending)
        except BrokerError as error:
            await self._refuse(HttpError.of(error), scope, receive, sending)
        except Exception:
            _log.exception("request %s failed", scope["enclave.request_id"])
            if sending.status:
                raise  # a client must see that the answer is not whole
            failed = HttpError(500, "something failed here", code="INTERNAL_ERROR")
            await self._refuse(failed, scope, receive, sending)
        finally:
            self._access_log.write(scope, sending.status, time.monotonic() - started)
            self._tracing.end(scope, sending.status)

    async def _enter(self, scope: Scope, receive: Receive, sending: _Sending) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        traits = self._plugins.of(path)
        self._origins.require_host(scope)
        origin = self._origins.require_origin(scope)
        if origin is not None:
            sending.headers += cors(origin, traits.answer_headers)
        _require_bounded(scope, self._limits)
        if scope.get("method") == "OPTIONS":
            answer = Answer(None, 204, preflight(traits.request_headers))
            await answer(scope, receive, sending)
            return
        if path not in PUBLIC and not traits.public:
            scope["enclave.caller"] = await self._known(scope, path, traits)
            self._plugins.equip(scope)
            self._tracing.begin(scope)
        await self._app(scope, receive, sending)

    async def _known(self, scope: Scope, path: str, traits: RouteTraits) -> Caller:
        try:
            return await self._caller(scope, path)
        except HttpError as refused:
            if refused.status == 401 and traits.challenge is not None:
                refused.headers = [(b"www-authenticate", traits.challenge.encode("latin-1"))]
            raise

    async def _caller(self, scope: Scope, path: str) -> Caller:
        ticketed = TICKETED.fullmatch(path) if scope.get("query_string") else None
        if ticketed is not None:
            caller = await self._identity.by_ticket(scope, ticketed[1])
            if caller is not None:
                return caller
        return await self._identity.caller(scope)

    async def _refuse(
        self, refused: HttpError, scope: Scope, receive: Receive, sending: _Sending
    ) -> None:
        if scope["type"] == "http":
            await refused.answer()(scope, receive, sending)
        elif not sending.status:
            await sending.deny(scope, refused)


class _Sending:
    """``send`` with the headers that every answer has; ``status`` is 0 until it has begun."""

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        self.request_id = request_id
        self.headers: list[Header] = [(b"x-request-id", request_id), *SAFE]
        self.status = 0

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self.headers]
        elif kind == "websocket.accept":
            self.status = 101
            message["headers"] = [*message.get("headers", ()), self.headers[0]]
        await self._send(message)

    async def deny(self, scope: Scope, refused: HttpError) -> None:
        """Refuse a WebSocket before it is one, with a status where the server can do that."""
        if "websocket.http.response" not in scope.get("extensions", {}):
            self.status = 403
            await self._send({"type": "websocket.close", "code": 1008, "reason": refused.code})
            return
        answer = refused.answer()
        await self(
            {
                "type": "websocket.http.response.start",
                "status": answer.status,
                "headers": answer.headers,
            }
        )
        await self._send({"type": "websocket.http.response.body", "body": answer.body})


def _not_served(refused: HTTPException) -> HttpError:
    """What the router refuses: a path or a method that there is not."""
    said = "there is nothing here"
    if refused.status_code == 405:
        said = "this can't be done here; the Allow header names what can"
    allowed = [(key.lower().encode(), value.encode()) for key, value in _pairs(refused.headers)]
    return HttpError(refused.status_code, said, headers=allowed)


def _pairs(headers: Mapping[str, str] | None) -> Iterable[tuple[str, str]]:
    return () if headers is None else headers.items()


def _request_id(scope: Scope) -> bytes:
    given = header(scope, b"x-request-id")
    if given is not None and REQUEST_ID.fullmatch(given):
        return given
    return token_hex(8).encode()


def _require_bounded(scope: Scope, limits: DoorLimits) -> None:
    headers = scope["headers"]
    if len(headers) > limits.max_headers:
        raise HttpError(431, f"more than {limits.max_headers} headers", code="PAYLOAD_TOO_LARGE")
    if sum(map(len, chain.from_iterable(headers))) > limits.max_header_bytes:
        raise HttpError(
            431, f"headers of more than {limits.max_header_bytes} bytes", code="PAYLOAD_TOO_LARGE"
        )
