"""Speaks to a server over HTTP: every request of the SDK goes through the network guard."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import httpx2
from enclave_broker_network.errors import AnswerTooLargeError
from enclave_broker_network.fields import OF_THE_CONNECTION
from enclave_broker_network.messages import OutboundRequest, Pairs, seconds_until
from enclave_broker_network.outbound import Outbound, open_outbound
from enclave_broker_network.streams import OutboundStream
from enclave_broker_network.urls import parse_url
from mcp.client._transport import TransportStreams
from mcp.client.streamable_http import streamable_http_client

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.redaction import Redactor

from .codes import BUSY, FAILED, TOO_LARGE, UNREACHABLE
from .config import McpConfig
from .ending import Ending
from .pace import Pace
from .refusals import failure, is_error
from .values import revealed

# What a request is not given up for at once: a call's own time is over before.
GRACE = 10.0
# Of the connections to the server so many are for what is no call: to list, to listen and to
# cancel. Else calls that take long could make a server that is busy look like one that is gone.
OTHERS = 3
# What the guard's own headers stand for.
_NOT_SENT = OF_THE_CONNECTION | {"user-agent"}
# How many streams are opened in a second, and at once: a server may have them opened again
# and again, and say that there is nothing to wait for.
STREAMS_PER_SECOND = 20.0
STREAMS_AT_ONCE = 100.0
# Requests without an end: their answers are what the server has to tell.
_LISTENING = "subscriptions/listen"
# How the SDK writes a call, within so many bytes.
_CALL, _HEAD = b'"method":"tools/call"', 100
_LATER = frozenset({429, 502, 503, 504})

OwnHeaders = Callable[[], Awaitable[Pairs]]


class GuardedTransport(httpx2.AsyncBaseTransport):
    """What httpx2 sends requests by. A failure is an answer with an error of the protocol, so
    that it is the error of the request, and not the end of the connection.

    ``own_headers`` are for requests to the server itself, and for no other's.
    """

    def __init__(
        self,
        outbound: Outbound,
        url: str,
        own_headers: OwnHeaders,
        seconds: float,
        max_bytes: int,
        calls: int,
        redactor: Redactor,
        ending: Ending,
    ) -> None:
        self._outbound = outbound
        self._url = parse_url(url)
        self._own_headers = own_headers
        self._seconds = seconds + GRACE
        self._max_bytes = max_bytes
        self._redactor = redactor
        self._ending = ending
        self._calls = anyio.Semaphore(calls)
        self._pace = Pace(STREAMS_PER_SECOND, STREAMS_AT_ONCE)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        seconds = self._seconds
        if request.method == "GET":
            await self._pace.spend()
        if request.method == "GET" or request.headers.get("mcp-method") == _LISTENING:
            seconds = math.inf
        until = time.monotonic() + seconds
        stack = AsyncExitStack()
        try:
            with anyio.fail_after(seconds):
                outgoing = await self._outgoing(request)
                if _CALL in (outgoing.body or b"")[:_HEAD]:
                    await self._calls.acquire()
                    stack.callback(self._calls.release)
                stream = await stack.enter_async_context(self._outbound.stream(outgoing))
                response = await self._response(request, stream, until, stack)
        except TimeoutError:
            response = failure(504, UNREACHABLE, f"no answer within {seconds:g} s")
        except AnswerTooLargeError as problem:
            response = failure(500, TOO_LARGE, problem.message)
        except BrokerError as problem:
            response = failure(500, UNREACHABLE, problem.message)
        finally:
            # Also when it is cancelled; what a stream needs has been taken off the stack.
            await stack.aclose()
        return response

    async def _outgoing(self, request: httpx2.Request) -> OutboundRequest:
        url = str(request.url)
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in request.headers.raw
            if name.decode("latin-1").lower() not in _NOT_SENT
        ]
        if parse_url(url).origin == self._url.origin:
            own = await self._own_headers()
            names = {name.lower() for name, _ in own}
            headers = [one for one in headers if one[0].lower() not in names] + list(own)
        body = await request.aread()
        return OutboundRequest(request.method, url, tuple(headers), body or None)

    async def _response(
        self,
        request: httpx2.Request,
        stream: OutboundStream,
        until: float,
        stack: AsyncExitStack,
    ) -> httpx2.Response:
        # It is decoded, and framed by nobody any more.
        headers = [
            (name, value)
            for name, value in stream.headers
            if name not in ("content-encoding", "content-length", "transfer-encoding")
        ]
        kind = (stream.header("content-type") or "").partition(";")[0].strip().lower()
        if kind == "text/event-stream" and stream.status == 200:
            events = Events(stream.body, until, stack.pop_all())
            return httpx2.Response(stream.status, headers=headers, stream=events)
        body = bytearray()
        async for piece in stream.body:
            body += piece
            if len(body) > self._max_bytes:
                raise AnswerTooLargeError(f"it has more than {self._max_bytes} bytes")
        if stream.status >= 400:
            # The SDK logs what it is told of tokens.
            text = self._redactor.text(body.decode("utf-8", "replace"))
            body = bytearray(text.encode())
            if self._is_message(request) and not is_error(bytes(body)):
                return self._refusal(request, stream)
        return httpx2.Response(stream.status, headers=headers, content=bytes(body))

    def _is_message(self, request: httpx2.Request) -> bool:
        return request.method == "POST" and parse_url(str(request.url)) == self._url

    def _refusal(self, request: httpx2.Request, stream: OutboundStream) -> httpx2.Response:
        """What a server says that it says by a status alone."""
        status = stream.status
        if status == 404 and "mcp-session-id" in request.headers:
            self._ending.because("it does not know the session any more")
        said = f"the server answered with status {status}"
        if status in _LATER:
            later = seconds_until(stream.header("retry-after"))
            return failure(status, BUSY, said, {} if later is None else {"retryAfter": later})
        return failure(status, FAILED, said)


class Events(httpx2.AsyncByteStream):
    """The body of a stream of events, and what is to be closed with it."""

    def __init__(self, body: AsyncIterator[bytes], until: float, stack: AsyncExitStack) -> None:
        self._body = body
        self._until = until
        self._stack = stack

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            with anyio.fail_after(max(0.0, self._until - time.monotonic())):
                return await anext(self._body)
        except TimeoutError:
            raise httpx2.ReadTimeout("the stream has taken too long") from None
        except BrokerError as problem:
            raise httpx2.ReadError(problem.message) from None

    async def aclose(self) -> None:
        await self._stack.aclose()


@asynccontextmanager
async def reach(
    config: McpConfig, context: OpenContext, redactor: Redactor, ending: Ending
) -> AsyncIterator[TransportStreams]:
    """The messages of a server at a URL. ConfigError, SecretError."""
    url = config.url or ""
    rules = config.network
    if rules.ca_file is not None:
        ca_file = str(Path(context.base_dir, rules.ca_file))
        rules = rules.model_copy(update={"ca_file": ca_file})
    most = min(config.max_message_bytes, rules.max_bytes)
    connections = max(rules.max_connections_per_host, OTHERS + 1)
    rules = rules.model_copy(
        update={
            "max_connections_per_host": connections,
            "max_connections": max(rules.max_connections, connections),
        }
    )
    redactor.add(parse_url(url).query or "")

    async def own_headers() -> Pairs:
        return tuple(
            [
                (name, await revealed(value, context.secret, redactor))
                for name, value in config.headers.items()
            ]
        )

    async with AsyncExitStack() as stack:
        outbound = await stack.enter_async_context(
            open_outbound(
                rules,
                origins=[url] if config.auth is None else [url, config.auth.issuer],
                more_headers=lambda request: tuple(context.trace_headers()),
            )
        )
        seconds = max(config.timeout, config.start_timeout)
        transport = GuardedTransport(
            outbound, url, own_headers, seconds, most, connections - OTHERS, redactor, ending
        )
        if config.auth is None:
            made = httpx2.AsyncClient(transport=transport, timeout=None, trust_env=False)
        else:
            # Only who needs tokens waits for what asks for them.
            from .oauth import TokenClient, authorising

            made = TokenClient(
                redactor,
                transport=transport,
                auth=await authorising(config.auth, url, context.secret, redactor),
                timeout=None,
                trust_env=False,
            )
        client = await stack.enter_async_context(made)
        yield await stack.enter_async_context(
            streamable_http_client(url, http_client=client, max_sse_event_size=most)
        )
