"""The keys claimed in sessions: who waits for one, and what happens to who is cancelled."""

from __future__ import annotations

from functools import partial
from time import monotonic

import anyio

from enclave_broker_core.models import Claim

from .claims import Found
from .file import SqliteFile
from .log import not_found


def claims_of(session_id: str) -> str:
    """The name under which the claims of a session are waited for; no session has it as id."""
    return f"{session_id} claims"


class Keys:
    """Claims of all sessions, as the contract of the store has them."""

    def __init__(self, file: SqliteFile) -> None:
        self._writer = file.writer
        self._claims = file.ledger.claims
        self._wakeups = file.wakeups

    async def claim(
        self, session_id: str, key: str, fingerprint: str, seconds: float, wait: float | None
    ) -> Claim:
        act = partial(self._claims.claim, session_id, key.encode(), fingerprint.encode(), seconds)
        if not wait:
            return (await self._take(session_id, act)).claim
        until = monotonic() + wait
        session: int | None = None
        with self._wakeups.following(claims_of(session_id)) as bell:
            while True:
                found = await self._take(session_id, act)
                if session is not None and found.session != session:
                    # Another session has got the id meanwhile.
                    await self._give_back(session_id, found)
                    raise not_found(session_id)
                session = found.session
                rest = until - monotonic()
                if found.claim.state != "pending" or rest <= 0:
                    return found.claim
                await bell.wait(min(rest, found.left))

    async def _take(self, session_id: str, act: partial[Found]) -> Found:
        op = self._writer.ask(act)
        try:
            found: Found = await self._writer.answer(op)
        except anyio.get_cancelled_exc_class():
            if op.problem is None:
                with anyio.CancelScope(shield=True):
                    await self._give_back(session_id, op.result)
            raise
        return found

    async def _give_back(self, session_id: str, found: Found) -> None:
        """Withdraw a claim that nobody got."""
        if found.claim.state == "new":
            withdraw = partial(self._claims.withdraw, found.row)
            await self._writer.do(withdraw, claims_of(session_id))

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        act = partial(self._claims.settle, session_id, key.encode(), answer)
        await self._writer.do(act, claims_of(session_id))

    async def release(self, session_id: str, key: str) -> None:
        act = partial(self._claims.release, session_id, key.encode())
        await self._writer.do(act, claims_of(session_id))
