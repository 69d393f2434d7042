"""Sends requests to other services: through the guard, within their time, and in bounds."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Literal

import anyio
import httpcore

from .decoding import Encodings
from .dialling import Connection, make_pool
from .errors import AnswerTooLargeError, BrokenAnswerError, OutboundTimeoutError, RefusedError
from .failures import failures_of
from .fields import request_headers, response_headers
from .guard import Guard, Resolver, system_resolver
from .messages import OutboundRequest, OutboundResponse, Pairs
from .places import Places
from .redirects import redirected
from .retries import Retries, repeated
from .rules import NetworkRules
from .streams import Decoded, OutboundStream
from .urls import Url, parse_url

PIECE = 64 * 1024
PROGRESS_SECONDS = 0.5

Phase = Literal["connecting", "sending", "receiving"]
OnProgress = Callable[[Phase, int | None, int | None], Awaitable[None]]
"""Is told a phase and, while receiving, the bytes that came and those that will, if known."""

MoreHeaders = Callable[[OutboundRequest], Pairs]
"""Headers to add to each request that is sent, such as those of a trace."""


class Pieces:
    """The body of a request in pieces, each of which has the time for writing to itself."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        if not self._body:
            raise StopAsyncIteration
        piece, self._body = self._body[:PIECE], self._body[PIECE:]
        return bytes(piece)


class Outbound:
    """A client for plugins: connections are kept, and every one has passed the guard.

    It is opened by ``open_outbound``.
    """

    def __init__(
        self,
        rules: NetworkRules,
        guard: Guard,
        pool: httpcore.AsyncConnectionPool,
        more_headers: MoreHeaders | None = None,
    ) -> None:
        self._rules = rules
        self._guard = guard
        self._pool = pool
        self._more_headers = more_headers
        self._encodings = Encodings()
        self._places = Places(rules.max_connections_per_host, rules.max_connections)
        self._timeouts = {
            "connect": rules.timeouts.connect,
            "read": rules.timeouts.read,
            "write": rules.timeouts.write,
            "pool": rules.timeouts.pool,
        }

    async def send(
        self,
        request: OutboundRequest,
        *,
        within: float | None = None,
        retries: Retries | None = None,
        on_progress: OnProgress | None = None,
    ) -> OutboundResponse:
        """Send a request, follow its redirects, and read its answer, of any status.

        With ``retries`` a request that may be repeated is. ``within`` is what the caller has
        left, in seconds: for a retry that comes later nobody waits. It ends no request, as the
        caller's own deadline does that; the rules' ``total`` ends each. Raises OutboundErrors.
        """
        total = self._rules.timeouts.total
        until = time.monotonic() + (total if within is None else min(total, within))
        with anyio.move_on_after(total):
            return await repeated(
                request, lambda: self._follow(request, on_progress), retries, until
            )
        host = parse_url(request.url).origin.host
        raise OutboundTimeoutError(f"{host} did not answer within {total:g} s", host=host)

    async def _follow(
        self, request: OutboundRequest, on_progress: OnProgress | None
    ) -> OutboundResponse:
        for _ in range(self._rules.max_redirects + 1):
            url = parse_url(request.url)
            self._guard.admit(url)
            response = await self._exchange(request, url, on_progress)
            following = redirected(request, url, response)
            if following is None:
                return response
            request = following
        host = parse_url(request.url).origin.host
        raise RefusedError(
            f"there are more than {self._rules.max_redirects} redirects, the last one to {host}",
            host=host,
        )

    @asynccontextmanager
    async def stream(self, request: OutboundRequest) -> AsyncIterator[OutboundStream]:
        """Send a request, and have its answer's body as it comes: for streams of events.

        Their reader bounds size and time: no timeout for reading holds, and no ``max_bytes``. A
        redirect is not followed. Raises OutboundErrors, here and while the body is read.
        """
        url = parse_url(request.url)
        self._guard.admit(url)
        timeouts = {**self._timeouts, "read": None}
        async with self._answered(request, url, timeouts, None) as (response, headers):
            decoder = self._encodings.decoder(_encoding(headers))
            pieces = response.aiter_stream()
            try:
                body = Decoded(pieces, decoder, url.origin.host)
                yield OutboundStream(response.status, headers, body)
            finally:
                await _cut(response, pieces)

    async def _exchange(
        self, request: OutboundRequest, url: Url, on_progress: OnProgress | None
    ) -> OutboundResponse:
        async with self._answered(request, url, self._timeouts, on_progress) as (response, headers):
            host = url.origin.host
            body = await self._read(request.method, response, headers, host, on_progress)
        return OutboundResponse(response.status, headers, body, str(url))

    @asynccontextmanager
    async def _answered(
        self,
        request: OutboundRequest,
        url: Url,
        timeouts: Mapping[str, float | None],
        on_progress: OnProgress | None,
    ) -> AsyncIterator[tuple[httpcore.Response, Pairs]]:
        """The answer to one request, before its body is read."""
        if self._more_headers is not None:
            more = self._more_headers(request)
            request = replace(request, headers=(*request.headers, *more))
        wired = httpcore.Request(
            request.method,
            _wire_url(url),
            headers=request_headers(request, url, self._encodings.accepted),
            content=Pieces(request.body or b""),
            extensions={"timeout": dict(timeouts)},
        )
        if on_progress is not None:
            await on_progress("connecting", None, None)
            wired.extensions["trace"] = _tracer(on_progress)
        host = url.origin.host
        with failures_of(host):
            async with self._places.of(url.origin, self._rules.timeouts.pool):
                response = await self._pool.handle_async_request(wired)
                try:
                    if response.status < 200:
                        raise BrokenAnswerError(f"{host} switches to another protocol", host=host)
                    yield response, response_headers(response.headers, host)
                finally:
                    await response.aclose()

    async def _read(
        self,
        method: str,
        response: httpcore.Response,
        headers: Pairs,
        host: str,
        on_progress: OnProgress | None,
    ) -> bytes:
        """The body, decoded; no more of it is read, and of a bomb decoded, than may be."""
        most = self._rules.max_bytes
        announced = _announced(headers)
        if method != "HEAD" and announced is not None and announced > most:
            raise _too_large(host, most)
        decoded = self._encodings.decoder(_encoding(headers))
        body = bytearray()
        received, told = 0, -math.inf
        async with _pieces(response) as pieces:
            async for piece in pieces:
                received += len(piece)
                for part in decoded.feed(piece):
                    body += part
                    if len(body) > most:
                        raise _too_large(host, most)
                if received > most:
                    raise _too_large(host, most)
                if on_progress is not None and time.monotonic() - told >= PROGRESS_SECONDS:
                    told = time.monotonic()
                    await on_progress("receiving", received, announced)
        decoded.end()
        return bytes(body)


@asynccontextmanager
async def open_outbound(
    rules: NetworkRules,
    *,
    origins: Iterable[str] = (),
    resolver: Resolver = system_resolver,
    more_headers: MoreHeaders | None = None,
) -> AsyncIterator[Outbound]:
    """An Outbound for the life of whoever opens it.

    ``origins`` are URLs that the operator wrote: their scheme, host and port are reached
    besides the hosts of the rules. ``more_headers`` is asked for each request, redirects too.
    """
    guard = Guard(rules, origins, resolver)
    async with make_pool(rules, guard) as pool:
        yield Outbound(rules, guard, pool, more_headers)


@asynccontextmanager
async def _pieces(response: httpcore.Response) -> AsyncIterator[AsyncIterator[bytes]]:
    """The body in pieces. When it is left before its end, the connection is not used again."""
    pieces = response.aiter_stream()
    try:
        yield pieces
    except BaseException:
        await _cut(response, pieces)
        raise


async def _cut(response: httpcore.Response, pieces: AsyncIterator[bytes]) -> None:
    connection: Connection = response.extensions["network_stream"]
    with connection.cut(), suppress(httpcore.ReadError):
        async for _ in pieces:
            pass  # what had come already


def _encoding(headers: Pairs) -> str:
    return ", ".join(value for name, value in headers if name == "content-encoding")


def _announced(headers: Pairs) -> int | None:
    """The size of the body on the wire, when the answer says it."""
    for name, value in headers:
        if name == "content-length" and value.isascii() and value.isdigit():
            return int(value[:19])
    return None


def _too_large(host: str, most: int) -> AnswerTooLargeError:
    return AnswerTooLargeError(f"the answer of {host} is larger than {most} bytes", host=host)


def _wire_url(url: Url) -> httpcore.URL:
    scheme, host, port = url.origin
    return httpcore.URL(scheme=scheme, host=host, port=port, target=url.target)


def _tracer(on_progress: OnProgress) -> Callable[[str, Any], Awaitable[None]]:
    async def trace(event: str, info: Any) -> None:
        if event == "http11.send_request_headers.started":
            await on_progress("sending", None, None)

    return trace
