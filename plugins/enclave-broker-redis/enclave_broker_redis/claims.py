"""The keys that are claimed in sessions, by whichever process."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from itertools import count
from time import monotonic
from typing import Any

import anyio

from enclave_broker_core.errors import TooManyClaimsError
from enclave_broker_core.models import Claim

from .config import RedisConfig
from .engine import Engine
from .keys import Keys
from .ops import Op, Script
from .wakeups import Wakeups
from .writing import not_found

# Most of what is pending is done long before its time ends.
RETRY_WHEN_FULL = 1.0
# In the script a claimant is so many characters.
CLAIMANT = 16


class Claims:
    """Claims of all sessions, as the contract of the store has them.

    Each claim has a name of its own, so that one that is sent twice is one claim. The time
    of a claim is the server's.
    """

    def __init__(self, engine: Engine, keys: Keys, config: RedisConfig, process: str) -> None:
        bounds = {"MAX_CLAIMS": config.max_claims, "MAX_CLAIM_BYTES": config.max_claim_bytes}
        self._claim = Script("claim", "claims", constants=bounds)
        self._settle = Script("settle", "claims", constants=bounds)
        self._release = Script("release", "claims")
        self._engine = engine
        self._keys = keys
        self._wakeups = Wakeups()
        self._process = process
        self._numbers = count()

    def names(self, session_id: str) -> Sequence[str]:
        """The keys of a session's claims."""
        return [self._keys.of(session_id, what) for what in ("c", "cf", "ca", "co")]

    async def claim(
        self, session_id: str, key: str, fingerprint: str, seconds: float, wait: float | None
    ) -> Claim:
        name = f"{self._process}{next(self._numbers):x}".rjust(CLAIMANT, "-")[-CLAIMANT:]
        arguments = (key, fingerprint, name, str(max(1, math.ceil(seconds * 1000))))
        if not wait:
            return (await self._look(session_id, arguments))[1]
        until = monotonic() + wait
        first: bytes | None = None
        async with self._wakeups.following(session_id) as bell:
            while True:
                which, claim, left = await self._look(session_id, arguments)
                if first is not None and which != first:
                    # Another session has got the id meanwhile.
                    if claim.state == "new":
                        await self.release(session_id, key, name)
                    raise not_found(session_id)
                first = which
                rest = until - monotonic()
                if claim.state != "pending" or rest <= 0:
                    return claim
                await bell.wait(min(rest, left))

    async def _look(self, session_id: str, arguments: Sequence[str]) -> tuple[bytes, Claim, float]:
        """Which session it is, what comes of claiming now, and how long a claim lasts."""
        op = self._op(self._claim, session_id, arguments)
        try:
            reply = await op.finished()
        except asyncio.CancelledError:
            if op.reply and op.reply[1] == b"new":
                with anyio.CancelScope(shield=True):
                    await self.release(session_id, arguments[0], arguments[2])
            raise
        if reply is None:
            raise not_found(session_id)
        which, state, *more = reply
        if state == b"full":
            raise TooManyClaimsError(
                "all idempotency keys that the session may use at a time are under way",
                retry_after=RETRY_WHEN_FULL,
            )
        if state == b"settled":
            return which, Claim("settled", more[0]), 0.0
        if state == b"pending":
            return which, Claim("pending"), max(0.001, more[0] / 1000)
        return which, Claim("new" if state == b"new" else "conflict"), 0.0

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        await self._op(self._settle, session_id, [key, answer]).finished()
        self.wake(session_id)

    async def release(self, session_id: str, key: str, claimant: str | None = None) -> None:
        arguments = [key] if claimant is None else [key, claimant]
        await self._op(self._release, session_id, arguments).finished()
        self.wake(session_id)

    def wake(self, session_id: str) -> None:
        """Let all look again who wait for something of the session."""
        self._wakeups.wake(session_id)

    def _op(self, script: Script, session_id: str, arguments: Sequence[Any]) -> Op:
        names = [self._keys.of(session_id, "s"), *self.names(session_id)]
        return self._engine.run(script, names, arguments)
