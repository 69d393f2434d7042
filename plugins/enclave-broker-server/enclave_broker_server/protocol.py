"""What reads HTTP from a connection: uvicorn's, bounded in all that comes before a handler runs."""

from __future__ import annotations

import asyncio
import logging
from itertools import chain
from typing import cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .answers import HttpError
from .closing import ClosingTransport
from .settings import DoorLimits

_log = logging.getLogger(__name__)

CLOSE = (b"connection", b"close")
VERSIONS = frozenset({"1.0", "1.1"})
# Requests that may wait on a connection while one before them is answered.
MOST_WAITING = 16


def http_protocol(limits: DoorLimits) -> type[asyncio.Protocol]:
    """The class of which uvicorn makes one for each connection."""

    class Bounded(BoundedHttp):
        door = limits

    return Bounded


class BoundedHttp(HttpToolsProtocol):
    """Refuses while it reads: too many headers, too long ones, a head that takes too long.

    uvicorn hands a request on when its head is whole, and bounds nothing of it. Fields after
    a body's end are dropped: what was checked of the headers must stay as it was.
    """

    door: DoorLimits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        closing = ClosingTransport(transport, self.loop, self._unfinished)
        super().connection_made(cast(asyncio.Transport, closing))
        self.timeout_keep_alive = self.door.idle_timeout  # type: ignore[assignment]
        self._answering: RequestResponseCycle | None = None
        self._refusal: HttpError | None = None
        self._in_head = self._in_body = self._upgraded = False
        # What came since the parser last had something to tell; it keeps that.
        self._unheard = 0
        self._timer: asyncio.TimerHandle | None = None
        if len(self.connections) > self.door.max_connections:
            self._refuse(HttpError(503, "there are too many connections"))
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        if self._answering is not None and not self._answering.response_complete:
            # uvicorn tells the last request only, which may still wait behind this one.
            self._answering.disconnected = True
            self._answering.message_event.set()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._unheard += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        heard = self._header_bytes() if self._in_head else 0
        if max(heard, self._unheard) > self.door.max_header_bytes:
            self._refuse(self._too_long())
        elif self._timer is None and (self._in_head or self._between_requests()):
            # A part of a head; or whatever came, it was not the next request.
            self._expect_head()

    # Called by the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._unheard = 0
        if len(self.pipeline) >= MOST_WAITING:
            raise self._stop(HttpError(429, f"more than {MOST_WAITING} requests are waiting"))

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        most = self.door.max_header_bytes
        if len(self.url) > most:
            refused = HttpError(414, f"a URL of more than {most} bytes", code="PAYLOAD_TOO_LARGE")
            raise self._stop(refused)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return
        super().on_header(name, value)
        if len(self.headers) > self.door.max_headers:
            message = f"more than {self.door.max_headers} headers"
            raise self._stop(HttpError(431, message, code="PAYLOAD_TOO_LARGE"))

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        if version not in VERSIONS:
            raise self._stop(HttpError(400, "this is neither HTTP/1.1 nor HTTP/1.0"))
        if self._header_bytes() > self.door.max_header_bytes:
            raise self._stop(self._too_long())
        super().on_headers_complete()
        # uvicorn reads no more while a request waits, and would not see the client go.
        self.flow.resume_reading()
        self._in_head, self._in_body = False, True
        self._unheard = 0
        self._stop_timer()

    def on_body(self, body: bytes) -> None:
        self._unheard = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._unheard = 0
        super().on_message_complete()

    # What uvicorn does with what was parsed

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal or HttpError(400, "the request is not HTTP as it should be"))

    def handle_websocket_upgrade(self) -> None:
        if self._under_way():
            self.transport.close()
            return
        self._upgraded = True
        super().handle_websocket_upgrade()
        socket = cast(WebSocketsSansIOProtocol, self.transport.get_protocol())
        if not socket.handshake_initiated:
            # It takes less for a request than this parser, and would wait for ever.
            self._refuse(HttpError(400, "this is no request for a WebSocket"))

    # Refusing

    def _stop(self, refused: HttpError) -> HttpError:
        self._refusal = refused
        return refused

    def _header_bytes(self) -> int:
        return sum(map(len, chain.from_iterable(self.headers)))

    def _too_long(self) -> HttpError:
        most = self.door.max_header_bytes
        return HttpError(431, f"headers of more than {most} bytes", code="PAYLOAD_TOO_LARGE")

    def _refuse(self, refused: HttpError) -> None:
        """Answer, where that can't be taken for the answer to another request, and close."""
        self._refusal = refused
        self._stop_timer()
        if self.transport.is_closing():
            return
        _log.info("a request of %s is refused: %s", self.client, refused.message)
        answering = self._answering
        its_own = self._in_body and answering is self.cycle and not self.cycle.response_started
        if not self._under_way() or its_own:
            answer = refused.answer()
            headers = (*self.server_state.default_headers, *answer.headers, CLOSE)
            lines = [b"%b: %b\r\n" % header for header in headers]
            status = STATUS_LINE[refused.status]
            self.transport.write(b"".join([status, *lines, b"\r\n", answer.body]))
        self.transport.close()

    def _under_way(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _unfinished(self) -> bool:
        return self._in_head or self._in_body or self._refusal is not None

    # Time

    def _between_requests(self) -> bool:
        waiting = self.timeout_keep_alive_task is None and not self._upgraded
        return waiting and not self._under_way()

    def _expect_head(self) -> None:
        self._timer = self.loop.call_later(self.door.header_timeout, self._head_is_late)

    def _head_is_late(self) -> None:
        self._timer = None
        if self._in_head:
            seconds = self.door.header_timeout
            self._refuse(HttpError(408, f"the headers did not come in {seconds:g} s"))
        else:
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
