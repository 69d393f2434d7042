"""Who lives, and what becomes of the sessions of who doesn't.

A replica has one lease for all that it holds. When that is over another makes itself the heir,
for as long as a lease, and gives each session a token of its own; so what the first one still
writes is refused, session by session. A replica that finds its lease gone has a new name from
then on.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import anyio

from enclave_broker_core.errors import (
    BrokerError,
    SessionEndedError,
    SessionLostError,
    SessionNotFoundError,
    StoreError,
)

from .engine import Engine
from .inbox import Outbox
from .index import Index
from .keys import Keys
from .ops import Argument, Script
from .writing import Writing

_log = logging.getLogger(__name__)

RENEW = Script("renew")
INHERIT = Script("inherit")
SETTLED = Script("settled")
LEAVE = Script("leave")

# A lease is renewed so many times while it lasts.
RENEWALS = 3
TAKEN_UP_AT_ONCE = 16

TakeUp = Callable[[str], Awaitable[None]]
"""Goes on with a session that this replica holds now, or ends it."""


class Leases:
    """This replica's lease, and the estates that it sees to. ``seconds`` is how long one lasts."""

    def __init__(
        self,
        engine: Engine,
        keys: Keys,
        index: Index,
        writing: Writing,
        outbox: Outbox,
        lease: float,
    ) -> None:
        self._engine = engine
        self._keys = keys
        self._index = index
        self._writing = writing
        self._outbox = outbox
        self.seconds = lease
        self.silent = False
        self._due: Sequence[str] = ()
        self._living: set[str] = set()
        self._offered: dict[str, None] = {}
        self._renewed_at = self._lenient_until = monotonic()

    async def begin(self) -> None:
        """Be a replica that lives."""
        await self._renewed(new=True)

    async def serve(self, take_up: TakeUp, lost: Callable[[], None]) -> None:
        """Renew the lease until cancelled; ``lost`` is called when it is gone."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep, lost)
            tasks.start_soon(self._see, take_up)

    async def _keep(self, lost: Callable[[], None]) -> None:
        """The lease; nothing that takes long is done here."""
        troubled = False
        while True:
            if not self.silent:
                try:
                    due = await self._renewed()
                    if due is None:
                        due = await self._again(lost)
                    self._due = due if self._may_judge() else ()
                    troubled = False
                except StoreError as problem:
                    if not troubled:
                        _log.warning("the lease of this broker can't be renewed: %s", problem)
                    troubled = True
            await anyio.sleep(self.seconds / RENEWALS)

    def _may_judge(self) -> bool:
        """Whether a lease that is over means that its replica has gone.

        Not while nobody could renew any: after this one could not for the length of a lease,
        the others have as long to say that they live.
        """
        now = monotonic()
        if now - self._renewed_at > self.seconds:
            self._lenient_until = now + self.seconds
        self._renewed_at = now
        return now >= self._lenient_until

    async def _again(self, lost: Callable[[], None]) -> Sequence[str]:
        """The lease is gone: let all go that it was for, and be another from now on."""
        _log.error("this broker was taken for dead: what it held is lost to others")
        self._writing.rename(secrets.token_hex(6))
        lost()
        return await self._renewed(new=True) or ()

    async def _see(self, take_up: TakeUp) -> None:
        """See to estates, and hand on what was taken of them."""
        while True:
            try:
                for replica in () if self.silent else self._due:
                    await self._inherit(replica)
                await self._offer(take_up)
            except StoreError as problem:
                _log.warning("nothing can be taken up now: %s", problem)
            await anyio.sleep(self.seconds / RENEWALS)

    async def _renewed(self, *, new: bool = False) -> Sequence[str] | None:
        """The replicas whose estates are to be seen to; None when the lease is gone."""
        names = [self._keys.replicas, self._keys.dead]
        arguments: list[Argument] = [self._writing.replica, _milliseconds(self.seconds), int(new)]
        reply = await self._engine.run(RENEW, names, arguments)
        if not reply[0]:
            return None
        _, living, due = reply
        self._living = {replica.decode() for replica in living}
        self._outbox.living(self._living)
        return tuple(replica.decode() for replica in due)

    async def _inherit(self, dead: str) -> None:
        names = [self._keys.replicas, self._keys.dead]
        if not await self._engine.run(INHERIT, names, [dead, _milliseconds(self.seconds)]):
            return
        _log.warning("broker %s says nothing any more; what it held is taken up", dead)
        held = await self._engine.do("SMEMBERS", self._keys.holds(dead))
        limit = anyio.CapacityLimiter(TAKEN_UP_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for session_id in held:
                tasks.start_soon(self._take, dead, session_id.decode(), limit)
        await self._engine.run(SETTLED, [self._keys.dead, self._keys.holds(dead)], [dead])

    async def _take(self, dead: str, session_id: str, limit: anyio.CapacityLimiter) -> None:
        async with limit:
            # Half of it would leave a session that nobody runs.
            with anyio.CancelScope(shield=True):
                try:
                    await self._taken(dead, session_id)
                except (StoreError, SessionLostError) as problem:
                    # It stays among what the dead one held, for the next heir.
                    _log.warning("session %s can't be taken up now: %s", session_id, problem)

    async def _taken(self, dead: str, session_id: str) -> None:
        whose = await self._index.whose(session_id)
        try:
            heir = await self._heir(dead, session_id)
        except SessionNotFoundError:
            # Its place was taken, and then nobody came, nor may anybody come later. Unless it is
            # the place of another by now, who is about to come.
            if whose is not None and whose.replica == dead:
                await self._writing.undo(session_id, whose.creation)
                await self._index.forget(session_id, whose)
        except SessionEndedError:
            if whose is not None:
                await self._index.conclude(session_id, whose, time.time())
        else:
            if whose is not None:
                await self._index.hand_over(session_id, whose, dead, heir)
        await self._engine.do("SREM", self._keys.holds(dead), session_id)

    async def _heir(self, dead: str, session_id: str) -> str:
        """Hold the session, unless one that lives does; which replica holds it."""
        own = self._writing.replica
        held = await self._engine.do("HGET", self._keys.of(session_id, "s"), "o")
        token = "" if held is None else held.decode()
        holder = token.partition(".")[0]
        if holder == own and self._writing.holds(session_id):
            return own
        if holder not in (own, dead) and holder in self._living:
            return holder
        new = self._writing.new_token()
        last, saves = await self._writing.take(session_id, token, new)
        self._writing.hold(session_id, new, last, saves)
        self._offered[session_id] = None
        return own

    async def _offer(self, take_up: TakeUp) -> None:
        """Hand on what has been taken; what fails is offered again at the next renewal."""
        limit = anyio.CapacityLimiter(TAKEN_UP_AT_ONCE)
        async with anyio.create_task_group() as tasks:
            for session_id in list(self._offered):
                tasks.start_soon(self._offer_one, session_id, take_up, limit)

    async def _offer_one(
        self, session_id: str, take_up: TakeUp, limit: anyio.CapacityLimiter
    ) -> None:
        async with limit:
            try:
                if self._writing.holds(session_id):
                    await take_up(session_id)
                self._offered.pop(session_id, None)
            except BrokerError as problem:
                _log.warning("session %s can't be taken up yet: %s", session_id, problem)
            except Exception:
                _log.exception("session %s can't be taken up yet", session_id)

    async def leave(self) -> None:
        """Live no more: others may have at once what is still held."""
        names = [self._keys.replicas, self._keys.holds(self._writing.replica)]
        try:
            await self._engine.run(LEAVE, names, [self._writing.replica])
        except StoreError as problem:
            _log.warning("the lease of this broker runs out by itself: %s", problem)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
