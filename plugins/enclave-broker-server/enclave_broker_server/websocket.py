"""``/sessions/{id}/ws``: a session's events and calls, both directions on one socket."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import anyio
from anyio.abc import TaskGroup
from starlette.requests import HTTPConnection, Request
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.models import Window
from enclave_broker_core.session_handle import SessionHandle
from enclave_broker_core.windows import SlidingWindows

from .answers import HttpError
from .following import begins_at, begun, json_parameter
from .resources import resource
from .service import Service, filter_of
from .settings import ServerSettings
from .socket_calls import SocketCalls
from .socket_messages import (
    AnswerMessage,
    CallMessage,
    CancelMessage,
    CodeMessage,
    SocketMessage,
    UnclearError,
    read,
    tool_error,
)
from .socket_wire import POLICY_VIOLATION, SocketWire
from .streams import EventSource

_log = logging.getLogger(__name__)

NORMAL = 1000
TOO_LARGE = 1009
FAILED = 1011
# So many messages in a row that are not understood end a socket.
MOST_UNCLEAR = 10


class SocketRoutes:
    """``/sessions/{id}/ws``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[BaseRoute]:
        path = "/sessions/{session_id}/ws"
        return [
            WebSocketRoute(path, _Endpoint(self._service)),
            resource(path, head=False, GET=self.not_a_socket),
        ]

    async def not_a_socket(self, request: Request) -> ASGIApp:
        await self._service.session(request)
        raise HttpError(
            426, "this is for a WebSocket: ask for an upgrade", headers=[(b"upgrade", b"websocket")]
        )


class _Endpoint:
    """Refuses as HTTP does, with a status, until the socket is accepted."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service, request = self._service, HTTPConnection(scope)
        chosen = filter_of(json_parameter(request, "filter"))
        session = await service.session(request)
        from_seq, _ = await begins_at(session, request)
        source = EventSource(
            session,
            from_seq=from_seq,
            filter=chosen,
            heartbeat=service.heartbeat(),
            base=scope.get("root_path", ""),
        )
        wire = SocketWire(send, source, service.settings.streams)
        with ExitStack() as place:
            place.enter_context(service.streams.place(session.id))
            await receive()
            try:
                await send({"type": "websocket.accept"})
            except OSError:
                return  # the client has left already
            # What the client asked for goes on to its end when the client has gone; it ends
            # with the session at the latest. What stops it before is the server's own end.
            async with anyio.create_task_group() as tasks:
                socket = _Socket(source, wire, tasks, service.settings)
                await socket.serve(receive)
                place.close()


class _Socket:
    """One connection: takes the client's messages, and sends the session's events."""

    def __init__(
        self, source: EventSource, wire: SocketWire, tasks: TaskGroup, settings: ServerSettings
    ) -> None:
        limits = settings.sockets
        self._session: SessionHandle = source.session
        self._source = source
        self._wire = wire
        self._tasks = tasks
        self._settings = settings
        self._calls = SocketCalls(source.session, wire, tasks, limits.max_calls)
        self._windows = SlidingWindows()
        self._window = (Window("messages", "socket", limits.max_messages_per_second, 1.0),)
        self._unclear = 0
        self._cancelled = False

    async def serve(self, receive: Receive) -> None:
        """Until the client has gone, or the socket has been closed."""
        async with anyio.create_task_group() as connection:
            connection.start_soon(self._read, receive)
            connection.start_soon(self._follow)
            await self._wire.ended.wait()
            connection.cancel_scope.cancel()
        await self._wire.close()

    async def _follow(self) -> None:
        try:
            while not self._source.done and self._wire.is_open:
                for event in await self._source.next():
                    await self._wire.event(event)
            # The calls have ended with the session; their answers may still be on the way.
            await self._calls.settled()
        except Exception:
            _log.exception("the events of session %s can't be sent", self._session.id)
            self._wire.end(FAILED, "something failed here: come back, and replay")
        else:
            if self._wire.is_open:
                self._wire.end(NORMAL, "the session has ended")

    async def _read(self, receive: Receive) -> None:
        while not self._wire.ended.is_set():
            frame = await receive()
            if frame["type"] == "websocket.disconnect":
                self._wire.gone()
            elif self._is_allowed(frame):
                await self._take(frame)

    def _is_allowed(self, frame: Mapping[str, Any]) -> bool:
        limits = self._settings.sockets
        if not self._windows.acquire(self._window):
            most = limits.max_messages_per_second
            self._wire.end(POLICY_VIOLATION, f"more than {most} messages in a second")
        elif _size(frame) > limits.max_message_bytes:
            self._wire.end(TOO_LARGE, f"a message of more than {limits.max_message_bytes} bytes")
        return not self._wire.ended.is_set()

    async def _take(self, frame: Mapping[str, Any]) -> None:
        try:
            message = read(frame, self._settings.limits)
        except UnclearError as unclear:
            await self._refuse(unclear.problem.body, unclear.id)
            self._unclear += 1
            if self._unclear >= MOST_UNCLEAR:
                said = f"{MOST_UNCLEAR} messages in a row were not understood"
                self._wire.end(POLICY_VIOLATION, said)
            return
        self._unclear = 0
        try:
            await self._act(message)
        except BrokerError as refused:
            await self._refuse(refused.to_wire(), getattr(message, "id", None))
        except HttpError as refused:
            await self._refuse(refused.body, getattr(message, "id", None))

    async def _act(self, message: SocketMessage) -> None:
        match message:
            case CallMessage():
                if message.id in self._calls:
                    raise HttpError(409, f"a call of the id {message.id!r} is under way")
                self._calls.begin(message)
            case CodeMessage():
                await begun(self._session, message.code)
            case AnswerMessage():
                failure = message.failure()
                await self._session.answer(message.id, result=message.data, error=failure)
            case CancelMessage():
                if not self._cancelled:
                    self._cancelled = True
                    self._tasks.start_soon(self._cancel, message.reason)

    async def _cancel(self, reason: str | None) -> None:
        try:
            await self._session.cancel(reason or "cancelled by the client")
        except BrokerError as failed:
            self._cancelled = False
            await self._refuse(failed.to_wire(), None)

    async def _refuse(self, error: Mapping[str, Any], id: str | None) -> None:
        """Answer under the message's id; but not where a call that goes on would seem to fail."""
        if id is None or id in self._calls:
            await self._wire.error(error["code"], error["message"])
        else:
            await self._wire.answer(tool_error(id, error))


def _size(frame: Mapping[str, Any]) -> int:
    text = frame.get("text")
    return len(frame.get("bytes") or b"") if text is None else len(text.encode("utf-8", "replace"))
