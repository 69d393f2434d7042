"""The keys that are claimed in one session, and the answers kept under them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from enclave_broker_core.errors import TooManyClaimsError
from enclave_broker_core.models import Claim


@dataclass
class _Held:
    fingerprint: str
    expires_at: float
    answer: bytes | None = None


class Claims:
    """At most ``most`` claims, whose times are by ``timer``: over that, those settled first go."""

    def __init__(self, most: int, timer: Callable[[], float]) -> None:
        self._most = most
        self._timer = timer
        self._held: dict[str, _Held] = {}
        # In the order in which they were settled.
        self._settled: dict[str, None] = {}

    def take(self, key: str, fingerprint: str, seconds: float) -> Claim:
        held = self._live(key)
        if held is None:
            if len(self._held) >= self._most:
                self._make_room()
            self._held[key] = _Held(fingerprint, self._timer() + seconds)
            return Claim("new")
        if held.fingerprint != fingerprint:
            return Claim("conflict")
        return Claim("pending") if held.answer is None else Claim("settled", held.answer)

    def left(self, key: str) -> float:
        """For how many seconds more the key is in use."""
        held = self._live(key)
        return 0.0 if held is None else held.expires_at - self._timer()

    def settle(self, key: str, answer: bytes) -> None:
        held = self._live(key)
        if held is not None and held.answer is None:
            held.answer = answer
            self._settled[key] = None

    def release(self, key: str) -> None:
        held = self._live(key)
        if held is not None and held.answer is None:
            self._drop(key)

    def expire(self) -> None:
        """Let those go whose time is over."""
        for key in list(self._held):
            self._live(key)

    def _live(self, key: str) -> _Held | None:
        held = self._held.get(key)
        if held is not None and held.expires_at <= self._timer():
            self._drop(key)
            return None
        return held

    def _make_room(self) -> None:
        self.expire()
        if len(self._held) < self._most:
            return
        if not self._settled:
            raise TooManyClaimsError(
                f"{len(self._held)} keys of the session are in use and none of them is done",
                retry_after=1.0,
            )
        self._drop(next(iter(self._settled)))

    def _drop(self, key: str) -> None:
        del self._held[key]
        self._settled.pop(key, None)
