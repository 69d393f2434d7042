"""The keys that are claimed in one session: by whom is not known, only for which request."""

from __future__ import annotations

from collections import OrderedDict

import anyio

from enclave_broker_core.errors import TooManyClaimsError
from enclave_broker_core.models import Claim

from .timeline import Timeline

# Most of what is pending is done long before its time ends.
_RETRY_WHEN_FULL = 1.0


class HeldClaim:
    """One key's claim. ``expires_at`` is by the store's timer; ``answer`` is there once it
    is settled, ``over`` once somebody waits for the end of it."""

    __slots__ = ("answer", "expires_at", "fingerprint", "over")

    def __init__(self, fingerprint: str, expires_at: float) -> None:
        self.fingerprint = fingerprint
        self.expires_at = expires_at
        self.answer: bytes | None = None
        self.over: anyio.Event | None = None

    async def wait(self, seconds: float) -> None:
        """Wait up to so long for the claim to be settled, released or deleted."""
        if self.over is None:
            self.over = anyio.Event()
        with anyio.move_on_after(seconds):
            await self.over.wait()

    def wake(self) -> None:
        if self.over is not None:
            self.over.set()


class SessionClaims:
    """All claims of a session, at most ``most`` and with answers of ``most_bytes`` together.

    Over a bound those leave that were settled first, but never the one settled last.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._held: dict[str, HeldClaim] = {}
        self._settled: OrderedDict[str, int] = OrderedDict()
        self._bytes = 0
        self._due = Timeline()

    def __len__(self) -> int:
        return len(self._held)

    def take(self, key: str, fingerprint: str, now: float, seconds: float) -> Claim | HeldClaim:
        """What the key's claim comes to, or the one that is pending; TooManyClaimsError."""
        self.expire(now)
        held = self._held.get(key)
        if held is None:
            if len(self._held) >= self._most:
                self._make_room()
            self._held[key] = held = HeldClaim(fingerprint, now + seconds)
            self._due.add(held.expires_at, key)
            return Claim("new")
        if held.fingerprint != fingerprint:
            return Claim("conflict")
        return held if held.answer is None else Claim("settled", held.answer)

    def settle(self, key: str, answer: bytes, now: float) -> None:
        self.expire(now)
        held = self._held.get(key)
        if held is None or held.answer is not None:
            return
        held.answer = answer
        self._settled[key] = len(answer)
        self._bytes += len(answer)
        while self._bytes > self._most_bytes and len(self._settled) > 1:
            self._drop(next(iter(self._settled)))
        held.wake()

    def release(self, key: str) -> None:
        held = self._held.get(key)
        if held is not None and held.answer is None:
            self._drop(key)

    def expire(self, now: float) -> None:
        """Let those go whose time is over."""
        while self._due and self._due.first()[0] <= now:
            self._drop(self._due.first()[1])

    def wake_all(self) -> None:
        """Let all who wait look again."""
        for held in self._held.values():
            held.wake()

    def _make_room(self) -> None:
        if not self._settled:
            raise TooManyClaimsError(
                f"{len(self._held)} keys of the session are in use and none of them is done",
                retry_after=_RETRY_WHEN_FULL,
            )
        self._drop(next(iter(self._settled)))

    def _drop(self, key: str) -> None:
        held = self._held.pop(key)
        self._due.remove(held.expires_at, key)
        self._bytes -= self._settled.pop(key, 0)
        held.wake()
