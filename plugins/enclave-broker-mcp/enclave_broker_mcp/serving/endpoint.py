"""The path of the server at which MCP clients are: whose each request is, and on which seat."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup
from mcp import types
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import CallNext, HandlerResult
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from enclave_broker_core.broker import Broker
from enclave_broker_core.models import Principal

from .bodies import GoneError, RefusedError, whole
from .changes import tell_of_changes
from .contexts import Context, connection_of
from .seating import Seating
from .seats import Seat, Visit
from .server import BrokerServer
from .settings import HttpConfig

VISIT = "enclave.mcp.visit"
"""Where in the scope the visit of a request is."""

SESSION_ID = MCP_SESSION_ID_HEADER.encode()
PROTOCOL_VERSION = MCP_PROTOCOL_VERSION_HEADER.encode()


class Endpoint:
    """An ASGI application: the SDK's sessions, each of which has an owner and a seat.

    Clients of the protocol's revisions without sessions have the seat of their principal.
    """

    def __init__(self, config: HttpConfig, tasks: TaskGroup) -> None:
        self._config = config
        self._tasks = tasks
        self._seating = Seating(config)
        self._attended: Broker | None = None
        server = BrokerServer(config, _visit_of)
        server.middleware.append(self._seated)
        self.manager = StreamableHTTPSessionManager(
            server,
            max_request_body_size=config.max_body_bytes,
            session_idle_timeout=config.idle_timeout,
            max_sessions=config.max_sessions,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] == "POST":
                config = self._config
                receive = await whole(scope, receive, config.max_body_bytes, config.body_timeout)
            with anyio.CancelScope() as stalled:
                await self._serve(scope, receive, self._steady(send, stalled))
        except RefusedError as refused:
            await _answer(refused)(scope, receive, send)
        except GoneError:
            pass

    def _steady(self, send: Send, stalled: anyio.CancelScope) -> Send:
        """``send``, which cancels the answer when its reader takes nothing for too long."""

        async def sending(message: Message) -> None:
            with anyio.move_on_after(self._config.stall_timeout) as waiting:
                await send(message)
            if waiting.cancelled_caught:
                stalled.cancel()
                await anyio.lowlevel.checkpoint()

        return sending

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        broker: Broker = scope["enclave.broker"]
        principal = getattr(scope.get("enclave.caller"), "principal", None)
        if not isinstance(principal, Principal):
            raise RefusedError(403, "only principals are served here")
        self._attend(broker)
        scope["user"] = _user(principal)
        # Of several, the first counts, as it does for the SDK.
        headers: Mapping[bytes, bytes] = dict(reversed(scope["headers"]))
        passed: Mapping[str, str] = scope.get("enclave.caller_headers", {})

        async def serve(seat: Seat | None) -> None:
            if seat is not None:
                scope[VISIT] = Visit(broker, principal, seat, passed)
            # A GET is a stream for what the server has to say: it waits for no answer.
            waits = scope["method"] == "POST"
            with seat.held() if seat is not None and waits else nullcontext():
                await self.manager.handle_request(scope, receive, send)

        session_id = headers.get(SESSION_ID)
        if _without_sessions(headers):
            await serve(self._seating.of_principal(principal, passed))
        elif session_id is None:
            with self._seating.opening(principal) as seat:
                await serve(seat)
        else:
            # One that is not here, or somebody else's, the SDK answers with 404.
            await serve(self._seating.of_session(session_id.decode("latin-1")))

    async def _seated(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """An ``initialize``, even one that fails, begins a session: its seat lasts as long."""
        if ctx.method == "initialize":
            visit, connection = _visit_of(ctx), connection_of(ctx)
            if visit.seat.connection is None and connection.session_id is not None:
                visit.seat.connection = connection
                ending = connection.exit_stack
                ending.enter_context(
                    self._seating.held(connection.session_id, visit.principal, visit.seat)
                )
                ending.push_async_callback(visit.seat.close)
        return await call_next(ctx)

    def _attend(self, broker: Broker) -> None:
        if self._attended is None and self._config.mode != "code":
            self._attended = broker
            self._tasks.start_soon(tell_of_changes, broker, lambda: self._seating)

    # The end

    def drain(self) -> None:
        """Take no new clients, and let those that are here go when nothing runs for them."""
        self._seating.draining = True
        self._tasks.start_soon(self._seating.give_up_principals)
        for session_id, principal, seat in self._seating.sessions():
            self._tasks.start_soon(self._let_go, session_id, principal, seat)

    async def _let_go(self, session_id: str, principal: Principal, seat: Seat) -> None:
        await seat.when_quiet()
        # The SDK ends a session when its client asks for that, and has no other way.
        scope: Scope = {
            "type": "http",
            "method": "DELETE",
            "path": self._config.path,
            "query_string": b"",
            "headers": [(SESSION_ID, session_id.encode("latin-1"))],
            "user": _user(principal),
        }
        await self.manager.handle_request(scope, _nothing_more, _to_nobody)


def _visit_of(context: Context) -> Visit:
    """Whose request it is; MCPError when its session has not begun."""
    visit = context.request.scope.get(VISIT) if context.request is not None else None
    if not isinstance(visit, Visit):
        raise MCPError(types.INVALID_REQUEST, "the session has not begun, or is over")
    return visit


def _without_sessions(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the request is of a revision of the protocol that knows no sessions."""
    version = headers.get(PROTOCOL_VERSION)
    return version is not None and version.decode("latin-1") not in HANDSHAKE_PROTOCOL_VERSIONS


def _user(principal: Principal) -> AuthenticatedUser:
    """The principal as the SDK knows the owners of its sessions: by client and issuer."""
    claims = None if principal.tenant is None else {"iss": principal.tenant}
    return AuthenticatedUser(
        AccessToken(token="", client_id=principal.id, scopes=[], claims=claims)
    )


def _answer(refused: RefusedError) -> JSONResponse:
    error = {"code": types.INVALID_REQUEST, "message": refused.message}
    said = {"jsonrpc": "2.0", "id": None, "error": error}
    return JSONResponse(said, refused.status, headers=refused.headers)


async def _nothing_more() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _to_nobody(message: Message) -> None:
    pass
