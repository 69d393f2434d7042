"""What a session store promises; what ``contracts`` says of all parts holds for it too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .calls import CallRecord
from .events import Draft, Event
from .models import Claim, SessionRecord, SessionState


class SessionStore(Protocol):
    """Keeps sessions, their event logs, their histories, and the keys claimed in them.

    An append that began is finished or has not happened: a store whose writing can wait
    shields it from cancellation. What is read back is never shared with what was given.

    One that brokers in several processes may use together, and that then shows all of them
    the same sessions, has an attribute ``shared`` that is True.
    """

    async def create(
        self,
        record: SessionRecord,
        *,
        max_open: int | None = None,
        max_of_principal: int | None = None,
    ) -> None:
        """Keep a new session.

        Raises SessionExistsError for an id that is taken. Raises TooManySessionsError, with
        the time until the next one of them expires, when ``max_open`` sessions have not
        ended, or ``max_of_principal`` of the same principal, id and tenant together; then
        the message names the principal. A session without one is only among ``max_open``.
        """

    async def get(self, session_id: str) -> SessionRecord | None:
        """The session as it stands, with its ``tool_calls`` and ``last_seq``, or None."""

    async def list(
        self,
        *,
        principal_id: str | None = None,
        tenant: str | None = None,
        include_ended: bool = False,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[SessionRecord]:
        """Up to ``limit`` sessions in the order of creation, those after the id ``after``.

        ``after`` may have been deleted meanwhile; SessionNotFoundError when it is unknown.
        """

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        """Add an event to the log and, with it, a finished call to the history; its ``seq``.

        Both or neither. The first ``seq`` is 1 and there are no gaps. Several may be under
        way at a time: each takes its place before it first waits. Raises
        SessionNotFoundError; SessionEndedError when the log has its final event. After a
        StoreError nobody knows whether it has happened; the same event object, given again
        then or after a cancellation, is in the log once all the same.
        """

    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        """Add the final event and set the ended ``state``; False when it had ended before.

        SessionNotFoundError for an unknown session, ValueError for a state that is no end.
        """

    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        """Up to ``limit`` events from ``from_seq`` on, in order; those that are still kept.

        When there are none, waits up to ``wait`` seconds for one and may then return an
        empty list. An ended session is never waited for. Raises SessionNotFoundError, also
        when the session is deleted while it waits.
        """

    async def history(self, session_id: str) -> Sequence[CallRecord]:
        """The finished calls, oldest first, as far as they are kept. SessionNotFoundError."""

    async def claim(
        self,
        session_id: str,
        key: str,
        fingerprint: str,
        *,
        seconds: float,
        wait: float | None = None,
    ) -> Claim:
        """Claim a key of the session, so that what is asked for under it is done once.

        One claim of a key is ``new``, of however many at once, and from then on the key is
        in use for ``seconds``, if it is not released. Until it is settled the others get
        ``pending``, after waiting up to ``wait`` seconds for that, then ``settled`` with the
        answer; those with another fingerprint get ``conflict`` at once. A key that is
        released, or whose time ends, is free: of those who wait one gets ``new`` and the
        rest wait on. Who is cancelled leaves no claim behind, and is given none.

        An ended session has claims too. Raises SessionNotFoundError, also when the session
        is deleted meanwhile. A store may bound a session's claims: those settled first leave
        early, pending ones never; where all are pending, TooManyClaimsError.
        """

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        """Keep the answer under a key as long as it is in use.

        The first answer stays. Where no claim is left, also for want of a session, it does
        nothing: who claims a key chooses more ``seconds`` than the work can take.
        """

    async def release(self, session_id: str, key: str) -> None:
        """Give up a claim that came to nothing. Changes nothing that is settled or gone."""

    async def delete(self, session_id: str) -> bool:
        """Forget the session and all that belongs to it; False when there was none."""

    async def sweep(self, now: float) -> int:
        """Forget the sessions that ended longer than the grace time ago; how many it was."""

    async def check(self) -> None:
        """Raise an error that says why when the store can't be reached."""
