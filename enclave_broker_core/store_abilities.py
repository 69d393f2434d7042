"""What a session store may be able to do besides: outlive its process, be shared, admit calls.

A store has an ability when it has its methods. What ``session_store`` says holds for all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from .calls import CallRecord
from .contracts import Limiter
from .events import Draft
from .models import Admission, SessionRecord, Window
from .session_store import SessionStore


class Holder(Protocol):
    """The broker of this process, to a store whose sessions other processes may take up."""

    def lost(self, session_id: str) -> None:
        """This process no longer holds the session: its work stops and writes nothing more.

        Told once or more, also of sessions that are not known here. Never waits.
        """

    async def take_up(self, record: SessionRecord) -> None:
        """The session, whose holder has gone, is held by this process now.

        Ends it as lost or, when it is durable, goes on with it; returns when that is settled.
        What it raises means that it came to nothing: the store offers the session again.
        """

    def command(self, session_id: str, body: bytes) -> Awaitable[bytes]:
        """Begin at once what another process asks of a session held here; awaited, the answer.

        Called in the order in which the commands were given. Cancelling the awaitable stops
        what was begun. It raises nothing else.
        """


@runtime_checkable
class LeasedStore(SessionStore, Protocol):
    """Its sessions outlive the process that runs them, and each is held by one at a time.

    Who creates a session holds it, as does who takes it up. ``append``, ``end`` and ``save``
    raise SessionLostError, and have not happened, in a process that does not hold the
    session (any more). ``lease`` is the seconds for which a holder is believed that says
    nothing: within twice that time another that serves takes up what it held. One that only
    was slow finds out before it writes anything more.
    """

    @property
    def lease(self) -> float: ...

    async def serve(self, holder: Holder) -> None:
        """Keep this process's leases, and hand to ``holder`` what comes, until cancelled.

        Runs once in the broker's task group, from before the first session is created.
        Sessions that nobody holds when it begins, as after a restart, are taken up too. It
        does not end because the backend is out of reach: it goes on when that is back.
        """


@runtime_checkable
class SharedStore(LeasedStore, Protocol):
    """Brokers in several processes use it together; ``shared`` is True."""

    async def ask(self, session_id: str, body: bytes) -> bytes:
        """Hand a command to whoever holds the session, also to this process; the answer.

        Each is begun once, those of one asker in their order. Cancelling withdraws it: it is
        not begun, or what was begun is cancelled. SessionNotFoundError; SessionEndedError,
        also when the session ends before it was begun; SessionLostError when the holder has
        gone with it in hand, so that nobody knows whether it was done.
        """


@dataclass(frozen=True, slots=True)
class Saved:
    """A session's saved state, and the answers of calls that were given since or kept."""

    state: bytes = field(repr=False)
    answers: Mapping[str, bytes] = field(repr=False)


@runtime_checkable
class DurableStore(LeasedStore, Protocol):
    """Keeps the state of code that runs, for another process to take up."""

    async def append(
        self,
        session_id: str,
        event: Draft,
        call: CallRecord | None = None,
        *,
        answer: bytes | None = None,
    ) -> int:
        """As every store's; with ``answer``, that is kept under the call's id in the same step."""

    async def save(self, session_id: str, state: bytes, *, keep: Collection[str] = ()) -> None:
        """Keep ``state`` in place of the one before, and of the answers only those in ``keep``.

        Happens in its place among the appends. SessionNotFoundError; SessionEndedError, and
        an ended session has no saved state.
        """

    async def saved(self, session_id: str) -> Saved | None:
        """What was saved last, None when nothing was. SessionNotFoundError."""


@runtime_checkable
class AdmittingStore(SessionStore, Protocol):
    """Counts calls as well: ``limiter`` does, on the same server as the sessions."""

    @property
    def limiter(self) -> Limiter: ...

    async def admit(self, session_id: str, event: Draft, windows: Sequence[Window]) -> Admission:
        """``append`` an event and ``limiter.acquire`` the windows, in as few trips as can be.

        The event is written whether or not the windows have room. What ``append`` raises
        has counted nothing; LimiterError when only the counting failed: the event is there.
        """
