"""Does what is asked for under one key once, also when it is asked for several times at once."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import anyio

from .errors import KeyReusedError, StillUnderWayError
from .models import Claim
from .session_store import SessionStore

# How long, in seconds, somebody waits for the answer to the first, and looks again meanwhile.
PATIENCE = 60.0
LOOK = 10.0

Act = Callable[[], Awaitable[tuple[bytes, bool]]]
"""Does it: its answer, and whether that is to be kept. If not, the next may try anew."""


class Claims:
    """The idempotency keys of one session, kept in the store."""

    def __init__(self, store: SessionStore, session_id: str) -> None:
        self._store = store
        self._session_id = session_id

    async def first(self, key: str, *, seconds: float) -> bool:
        """Whether nobody has used the key in the last ``seconds``; from now on it is used."""
        claim = await self._store.claim(self._session_id, key, "", seconds=seconds)
        return claim.state == "new"

    async def once(
        self, key: str, request: bytes, act: Act, *, seconds: float
    ) -> tuple[bytes, bool]:
        """The answer to the first ``request`` under this key, and whether it is a replay.

        KeyReusedError when that was another request, StillUnderWayError when it has no
        answer after a minute. What ``act`` raises is raised and not kept.
        """
        fingerprint = hashlib.sha256(request).hexdigest()
        claim = await self._claimed(key, fingerprint, seconds)
        if claim.answer is not None:
            return claim.answer, True
        kept = False
        try:
            answer, keep = await act()
            if keep:
                with anyio.CancelScope(shield=True):
                    await self._store.settle(self._session_id, key, answer)
                kept = True
            return answer, False
        finally:
            if not kept:
                with anyio.CancelScope(shield=True):
                    await self._store.release(self._session_id, key)

    async def _claimed(self, key: str, fingerprint: str, seconds: float) -> Claim:
        until = anyio.current_time() + PATIENCE
        while True:
            left = until - anyio.current_time()
            claim = await self._store.claim(
                self._session_id,
                key,
                fingerprint,
                seconds=seconds,
                wait=max(0.0, min(LOOK, left)),
            )
            if claim.state == "conflict":
                raise KeyReusedError("this idempotency key was used for another request")
            if claim.state != "pending":
                return claim
            if left <= 0:
                raise StillUnderWayError(
                    "the first request with this idempotency key is still under way",
                    retry_after=LOOK,
                )
