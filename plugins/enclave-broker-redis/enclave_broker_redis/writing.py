"""Writes the logs of sessions: only who holds one may, and each event has its place."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from itertools import count
from typing import Any

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.errors import SessionEndedError, SessionLostError, SessionNotFoundError
from enclave_broker_core.events import Draft
from enclave_broker_core.models import SessionRecord, SessionState
from enclave_broker_core.store_abilities import Holder, Saved

from .config import RedisConfig
from .encoding import call_arguments
from .engine import Engine
from .keys import Keys
from .ops import Argument, Op, Script
from .places import ENDED, LOST, MISSING, Begin, Hold
from .wakeups import Wakeups

CREATE = Script("create")
UNDO = Script("undo")
SAVED = Script("saved")
TAKE = Script("take")

# The session, its log, its history, the answers of its calls, its saved state, its record; the
# commands that wait, all commands, and those that were begun.
PARTS = ("s", "e", "h", "a", "d", "r", "q", "qc", "qb")

# For so many milliseconds a creation that was given up could still arrive.
LATEST = 60_000
# An ended session can be read for at least as many seconds.
SHORTEST_GRACE = 1.0


class Writing:
    """The sessions that this process holds, and what it writes to them.

    ``replica`` is the name of this process. A token is ``<replica>.<number>``; each is used
    for one session, and for one time of holding it.
    """

    def __init__(
        self, engine: Engine, keys: Keys, config: RedisConfig, replica: str, wakeups: Wakeups
    ) -> None:
        bounds = {
            "MAX_EVENTS": config.max_events,
            "MAX_EVENT_BYTES": config.max_event_bytes,
            "MAX_CALLS": config.max_calls,
            "MAX_CALL_BYTES": config.max_call_bytes,
        }
        self._append = Script("append", "log", constants=bounds)
        self._finish = Script("finish", "log", constants=bounds)
        self._save = Script("save", "log", constants=bounds)
        self._engine = engine
        self._keys = keys
        self._grace = max(1, int(1000 * max(config.grace, SHORTEST_GRACE)))
        self._wakeups = wakeups
        self._numbers = count(1)
        self._held: dict[str, Hold] = {}
        self.replica = replica
        self.holder: Holder | None = None

    def holds(self, session_id: str) -> bool:
        return session_id in self._held

    def held(self) -> list[str]:
        """The sessions that this process holds."""
        return list(self._held)

    def token(self, session_id: str) -> str | None:
        """The token by which this process holds the session."""
        hold = self._held.get(session_id)
        return None if hold is None else hold.token

    def rename(self, replica: str) -> None:
        """Be another from now on: what was held is to be let go."""
        self.replica = replica

    def new_token(self, replica: str | None = None) -> str:
        return f"{replica or self.replica}.{next(self._numbers)}"

    def hold(self, session_id: str, token: str, last: int, saves: int = 0) -> None:
        """This process holds the session from now on; its log has ``last`` events.

        Under the name that it has now: who is the heir of that one finds it by that.
        """
        new_token = partial(self.new_token, token.partition(".")[0])

        async def take(old: str, new: str) -> int:
            return (await self.take(session_id, old, new))[0]

        self._held[session_id] = Hold(token, last, new_token, take, saves)

    def let_go(self, session_id: str) -> None:
        """This process does not hold the session any more; nothing happens if it did not."""
        self._held.pop(session_id, None)

    async def take(self, session_id: str, old: str, new: str) -> tuple[int, int]:
        """Let a session whose token is ``old`` have a ``new`` one.

        Returns how many events and how many saves it has had. SessionLostError when the token
        is another by now, SessionEndedError, SessionNotFoundError.
        """
        reply = await self._engine.run(TAKE, self.names(session_id, 1), [old, new]).finished()
        if isinstance(reply, int):
            raise self._refused(session_id, reply)
        return reply[0], reply[1]

    def names(self, session_id: str, parts: int = len(PARTS)) -> list[str]:
        of = self._keys.of
        return [of(session_id, what) for what in PARTS[:parts]]

    async def create(self, record: SessionRecord, creation: str) -> bool:
        """Create and hold a session; False when its id is taken."""
        token = self.new_token()
        arguments = [token, creation, record.model_dump_json()]
        if not await self._engine.run(CREATE, self._created(record.id), arguments).finished():
            return False
        self.hold(record.id, token, 0)
        return True

    async def undo(self, session_id: str, creation: str) -> None:
        """Let a creation that failed not have happened, whatever is still on its way."""
        arguments: list[Argument] = [creation, LATEST]
        await self._engine.run(UNDO, self._created(session_id), arguments).finished()

    def _created(self, session_id: str) -> list[str]:
        return [self._keys.of(session_id, what) for what in ("s", "r", "x")]

    def begin_append(
        self,
        session_id: str,
        event: Draft,
        call: CallRecord | None,
        answer: bytes | None,
    ) -> Begin:
        more: tuple[Argument, ...] = ()
        if call is not None:
            more = call_arguments(call)
            if answer is not None:
                more = (*more, call.call_id, answer)
        names = self.names(session_id, 4)
        run, script = self._engine.run, self._append

        def begin(token: str, place: int) -> Op:
            return run(script, names, (token, place, *event, *more))

        return begin

    async def append(
        self,
        session_id: str,
        event: Draft,
        call: CallRecord | None = None,
        answer: bytes | None = None,
    ) -> int:
        """See the contract of the store."""
        begin = self.begin_append(session_id, event, call, answer)
        place: int = await self.write(session_id, begin, what=event)
        return place

    async def finish(
        self, session_id: str, final: Draft, state: SessionState, at: float, claims: Collection[str]
    ) -> None:
        """Write the final event; SessionEndedError when there is one."""
        names = [*self.names(session_id), *claims]

        def begin(token: str, place: int) -> Op:
            arguments: list[Argument] = [token, place, *final, state.value, repr(at), self._grace]
            return self._engine.run(self._finish, names, arguments)

        await self.write(session_id, begin)
        self.let_go(session_id)

    async def save(self, session_id: str, state: bytes, keep: Collection[str]) -> None:
        hold = self._held.get(session_id)
        number = 0
        if hold is not None:
            hold.saves = number = hold.saves + 1
        names = self.names(session_id, 5)

        def begin(token: str, place: int) -> Op:
            arguments: list[Argument] = [token, place - 1, number, state, *keep]
            return self._engine.run(self._save, names, arguments)

        await self.write(session_id, begin, places=0)

    async def saved(self, session_id: str) -> Saved | None:
        names = [self._keys.of(session_id, what) for what in ("s", "a", "d")]
        reply = await self._engine.run(SAVED, names, [])
        if reply is None:
            raise self._refused(session_id, MISSING)
        state, answers = reply
        if state is None:
            return None
        pairs = zip(answers[::2], answers[1::2], strict=True)
        return Saved(state, {id.decode(): answer for id, answer in pairs})

    async def admit(self, session_id: str, begin: Begin, event: Draft) -> tuple[int, int]:
        """Let a call be admitted: which window refuses it or 0, and for how long."""
        hold = self._held.get(session_id)
        if hold is None:
            reply = await begin("", 0).finished()
        else:
            _, reply = await hold.write(begin, what=event)
        if isinstance(reply, int):
            raise self._refused(session_id, reply)
        followers, refusing, time = reply
        if followers:
            self._wakeups.tell(session_id, followers)
        self._wakeups.wake(session_id)
        return refusing, time

    async def write(
        self, session_id: str, begin: Begin, places: int = 1, *, what: object = None
    ) -> Any:
        """Let a write happen in its place, which it returns, and wake who waits for it."""
        hold = self._held.get(session_id)
        if hold is None:
            place, reply = 0, await begin("", 0).finished()
        else:
            place, reply = await hold.write(begin, places, what=what)
        if isinstance(reply, int):
            if reply <= 0:
                raise self._refused(session_id, reply)
        else:
            # The call that was admitted with it has an answer of more parts.
            self._wakeups.tell(session_id, reply if isinstance(reply, bytes) else reply[0])
        self._wakeups.wake(session_id)
        return place

    def _refused(self, session_id: str, reply: int) -> Exception:
        """The error of a write that has not happened."""
        if reply in (LOST, MISSING):
            held = self._held.pop(session_id, None)
            if held is not None and self.holder is not None:
                self.holder.lost(session_id)
        if reply == ENDED:
            return SessionEndedError(f"the session {session_id!r} has ended")
        if reply == LOST:
            return SessionLostError(f"the session {session_id!r} is held by another process")
        return not_found(session_id)


def not_found(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"there is no session {session_id!r}")
