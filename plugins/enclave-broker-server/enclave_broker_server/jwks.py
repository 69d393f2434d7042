"""An issuer's keys, fetched from its URL, kept for a while, and fetched anew when they change."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import anyio
import httpx
from anyio.abc import TaskGroup
from joserfc.jwk import Key

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.json_form import NotJsonError, parse

from .jwks_settings import JwksSettings, is_loopback
from .key_ring import KeyRing, KeyUnusableError

_log = logging.getLogger(__name__)

LONGEST_REASON = 200


class KeysUnavailableError(BrokerError):
    """Nobody can tell whether a token is valid, as its issuer's keys can't be had now."""

    code: ClassVar[str] = "SERVICE_UNAVAILABLE"
    retryable: ClassVar[bool] = True


class FetchError(Exception):
    """What came from the URL are no keys, or nothing came."""


class RemoteKeys:
    """The keys of one URL. Those who wait for a fetch share it; it outlives each of them.

    ``clock`` is in seconds and never goes back.
    """

    def __init__(
        self,
        url: str,
        settings: JwksSettings,
        client: httpx.AsyncClient,
        tasks: TaskGroup,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._settings = settings
        self._client = client
        self._tasks = tasks
        self._clock = clock
        self._ring: KeyRing | None = None
        self._fetched_at = self._tried_at = -math.inf
        self._failed = False
        self._under_way: anyio.Event | None = None

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """The keys that a token may mean. KeysUnavailableError when that can't be told now."""
        if self._age() >= self._settings.cache_seconds:
            await self.refresh()
        found = self._current().find(kid, algorithm, unnamed=False)
        if not found:
            # Perhaps they have changed. A token can ask for that only so often.
            await self.refresh()
            found = self._current().find(kid, algorithm)
            if not found and self._failed:
                raise self._unavailable()
        return found

    async def refresh(self) -> None:
        """Fetch the keys, unless they were asked for just now; when it fails, they stay."""
        if self._under_way is None:
            if self._clock() - self._tried_at < self._settings.refetch_interval:
                return
            self._tried_at = self._clock()
            self._under_way = anyio.Event()
            self._tasks.start_soon(self._fetch, self._under_way)
        await self._under_way.wait()

    async def _fetch(self, done: anyio.Event) -> None:
        try:
            with anyio.fail_after(self._settings.fetch_timeout):
                self._ring = await self._get()
            self._fetched_at = self._clock()
            self._failed = False
        except Exception as problem:  # it must not end the server, whatever it was
            self._failed = True
            _log.warning("the keys of %s can't be had: %s", self._url, self._reason(problem))
        finally:
            self._under_way = None
            done.set()

    async def _get(self) -> KeyRing:
        # Not compressed: what is small on the wire could be large in memory.
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        async with self._client.stream("GET", self._url, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise FetchError(f"the answer has status {response.status_code}")
            body = bytearray()
            most = self._settings.max_jwks_bytes
            # Cancelled rather than left, so that each iterator that is in this one is closed.
            with anyio.CancelScope() as reading:
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > most:
                        reading.cancel()
        if len(body) > most:
            raise FetchError(f"the answer has more than {most} bytes")
        try:
            return KeyRing.of_jwks(parse(bytes(body)))
        except NotJsonError:
            raise FetchError("the answer is not JSON") from None

    def _reason(self, problem: Exception) -> str:
        if isinstance(problem, TimeoutError):
            return f"no whole answer in {self._settings.fetch_timeout:g} s"
        if isinstance(problem, FetchError | KeyUnusableError):
            return str(problem)
        return f"{type(problem).__name__}: {problem}"[:LONGEST_REASON]

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    def _current(self) -> KeyRing:
        kept = self._settings.cache_seconds + self._settings.stale_seconds
        if self._ring is None or self._age() >= kept:
            raise self._unavailable()
        return self._ring

    def _unavailable(self) -> KeysUnavailableError:
        wait = self._tried_at + self._settings.refetch_interval - self._clock()
        return KeysUnavailableError(
            "the keys that tokens are signed with can't be had now", retry_after=max(0.0, wait)
        )


@asynccontextmanager
async def open_remote_keys(
    url: str, settings: JwksSettings, *, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[RemoteKeys]:
    """The keys, fetched once before they are needed. When that fails, a warning says so, and
    whoever needs them tries again."""
    client = httpx.AsyncClient(
        follow_redirects=False,
        timeout=settings.fetch_timeout,
        # A proxy is not on the way to this machine.
        trust_env=not is_loopback(url),
        limits=httpx.Limits(max_keepalive_connections=0),
    )
    async with client, anyio.create_task_group() as tasks:
        keys = RemoteKeys(url, settings, client, tasks, clock=clock)
        await keys.refresh()
        yield keys
        tasks.cancel_scope.cancel()
