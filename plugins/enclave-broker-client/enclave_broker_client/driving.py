"""Takes the steps of the client over httpx: on an event loop, or without one."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import anyio
import httpx

from .address import Address
from .errors import ConnectionLostError, ProtocolError
from .settings import ClientSettings
from .steps import Close, Head, Open, Pause, Read, Steps

T = TypeVar("T")

# Nothing of the request has gone out by then.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
CLOSE_TIME = 5.0


class Wire:
    """Makes requests for a server out of steps, and errors out of those of httpx."""

    def __init__(self, address: Address, settings: ClientSettings) -> None:
        self._address = address
        self._settings = settings

    def http_options(self) -> dict[str, Any]:
        """How a client of httpx is made for this server.

        Of connections that are open at once there is no end: each stream takes one. Those
        that were idle for longer than two seconds are not used again. A server may close them
        then, and a request that meets that can't know whether it was heard.
        """
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=20, keepalive_expiry=2.0
        )
        if self._address.base.startswith("https:"):
            return {"limits": limits}
        # To load all authorities takes a tenth of a second. This context trusts nobody.
        return {"limits": limits, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}

    def request(self, http: httpx.AsyncClient | httpx.Client, step: Open) -> httpx.Request:
        wait = self._settings.connect_timeout
        return http.build_request(
            step.method,
            self._address.url(step.path, step.query),
            headers={**self._address.headers, **step.headers},
            content=step.body,
            timeout=httpx.Timeout(step.patience, connect=wait, pool=wait),
        )

    def head(self, response: httpx.Response) -> Head:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ProtocolError("the server's answer is compressed, and nobody asked for that")
        return Head(response.status_code, {k.lower(): v for k, v in response.headers.items()})

    def lost(self, problem: httpx.HTTPError) -> ConnectionLostError:
        what = type(problem).__name__
        if isinstance(problem, NOT_SENT):
            message = f"no connection to {self._address.base}: {str(problem) or what}"
            return ConnectionLostError(message, sent=False)
        return ConnectionLostError(f"the connection to {self._address.base} was lost: {what}")


class Driver:
    """Takes steps on an event loop. It holds one answer at the most, until closed."""

    def __init__(self, http: httpx.AsyncClient, wire: Wire) -> None:
        self._http = http
        self._wire = wire
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def ask(self, steps: Steps[T]) -> T:
        """Take all steps and close; what comes of them."""
        try:
            return await self.run(steps)
        finally:
            await self.close()

    async def run(self, steps: Steps[T]) -> T:
        """Take all steps; what comes of them."""
        reply: Any = None
        lost: ConnectionLostError | None = None
        try:
            while True:
                step = steps.send(reply) if lost is None else steps.throw(lost)
                reply = lost = None
                try:
                    reply = await self._take(step)
                except httpx.HTTPError as problem:
                    lost = self._wire.lost(problem)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    async def _take(self, step: Any) -> Any:
        match step:
            case Open():
                await self.close()
                request = self._wire.request(self._http, step)
                self._response = await self._http.send(request, stream=True, follow_redirects=False)
                self._chunks = self._response.aiter_raw()
                return self._wire.head(self._response)
            case Read():
                return b"" if self._chunks is None else await anext(self._chunks, b"")
            case Pause(seconds):
                await anyio.sleep(seconds)
            case Close():
                await self.close()
        return None

    async def close(self) -> None:
        """Let go of the answer that is held."""
        response, chunks = self._response, self._chunks
        self._response = self._chunks = None
        if response is None or chunks is None:
            return
        with anyio.move_on_after(CLOSE_TIME, shield=True):
            await response.aclose()
            # The generators within each other come to their ends by an error only: closing
            # the outer one would leave the others to the garbage collector.
            with suppress(Exception):
                await anext(chunks, b"")


class SyncDriver:
    """Takes steps in the thread that asks for it."""

    def __init__(self, http: httpx.Client, wire: Wire) -> None:
        self._http = http
        self._wire = wire
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] | None = None

    def ask(self, steps: Steps[T]) -> T:
        """Take all steps and close; what comes of them."""
        try:
            return self.run(steps)
        finally:
            self.close()

    def run(self, steps: Steps[T]) -> T:
        """Take all steps; what comes of them."""
        reply: Any = None
        lost: ConnectionLostError | None = None
        try:
            while True:
                step = steps.send(reply) if lost is None else steps.throw(lost)
                reply = lost = None
                try:
                    reply = self._take(step)
                except httpx.HTTPError as problem:
                    lost = self._wire.lost(problem)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    def _take(self, step: Any) -> Any:
        match step:
            case Open():
                self.close()
                request = self._wire.request(self._http, step)
                self._response = self._http.send(request, stream=True, follow_redirects=False)
                self._chunks = self._response.iter_raw()
                return self._wire.head(self._response)
            case Read():
                return b"" if self._chunks is None else next(self._chunks, b"")
            case Pause(seconds):
                time.sleep(seconds)
            case Close():
                self.close()
        return None

    def close(self) -> None:
        """Let go of the answer that is held."""
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            response.close()
