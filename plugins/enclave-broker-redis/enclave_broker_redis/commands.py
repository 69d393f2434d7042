"""Commands from the replica that was asked to the one that holds the session, and their answers.

A command waits in its session's queue; who holds the session takes it in the step that shows
that it does, and marks it as begun. So each is begun once, by whoever holds the session then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from itertools import count

import anyio
from anyio.abc import TaskGroup

from enclave_broker_core.errors import (
    BrokerError,
    MailboxFullError,
    SessionEndedError,
    SessionLostError,
    StoreError,
)
from enclave_broker_core.store_abilities import Holder

from .engine import Engine
from .inbox import Outbox, Told
from .keys import Keys
from .ops import Op, Script
from .places import ENDED, MISSING
from .writing import Writing, not_found

_log = logging.getLogger(__name__)

PUT = Script("put", again=False)
FETCH = Script("fetch", again=False)
IN_HAND = Script("in_hand")
WITHDRAW = Script("withdraw")
WHERE = Script("where")

# Of one session, begun or not.
MOST_WAITING = 1_000
# How often, in seconds, who waits for an answer looks what has become of the command.
LOOK = 2.0

# How an answer begins: what follows is the holder's answer, or why there is none.
DONE, OVER, GONE = b"+", b"-ended", b"-lost"


class Commands:
    """What this replica asks others, and what it is asked."""

    def __init__(self, engine: Engine, keys: Keys, writing: Writing, outbox: Outbox) -> None:
        self._engine = engine
        self._keys = keys
        self._writing = writing
        self._outbox = outbox
        self._numbers = count()
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._in_hand: dict[tuple[str, bytes], anyio.CancelScope] = {}
        # Withdrawn before they were heard of: what another connection says may be first.
        self._withdrawn: dict[tuple[str, bytes], bool] = {}
        self._unsure: set[str] = set()
        self._rung: dict[str, None] = {}
        self._more = anyio.Event()

    # Asking

    async def ask(self, session_id: str, body: bytes) -> bytes:
        """See the contract of the store."""
        holder = self._writing.holder
        if holder is not None and self._writing.holds(session_id):
            return await holder.command(session_id, body)
        own = f"{self._writing.replica} {next(self._numbers)}".encode()
        answer = self._waiting[own] = asyncio.get_running_loop().create_future()
        try:
            names = self._names(session_id)[:3]
            op = self._engine.run(PUT, names, [own, body, MOST_WAITING])
            number: int | None = None
            try:
                reply = await op.finished()
                if isinstance(reply, int):
                    raise _refused(session_id, reply)
                number = reply[0]
                self._ring(reply[1], session_id)
                return await self._answered(session_id, number, answer)
            except asyncio.CancelledError:
                if number is None and op.done and isinstance(op.reply, list):
                    number = op.reply[0]
                if number is not None:
                    with anyio.CancelScope(shield=True):
                        await self._withdraw(session_id, number)
                raise
        finally:
            del self._waiting[own]

    async def _answered(self, session_id: str, number: int, answer: asyncio.Future[bytes]) -> bytes:
        """Wait for the answer; and see to it that one comes, when nobody is there to give it."""
        missing = 0
        while True:
            await asyncio.wait([answer], timeout=LOOK)
            if answer.done():
                return _opened(session_id, answer.result())
            try:
                where = await self._engine.run(WHERE, self._names(session_id), [number])
            except StoreError as problem:
                _log.debug("what has become of a command is not known: %s", problem)
                continue
            there, state, token, known, begun = where
            if not there:
                raise not_found(session_id)
            if not known or (begun and (state or _replica(begun) != _replica(token))):
                # The answer may be on its way.
                missing += 1
                if missing > 1:
                    raise _lost(session_id)
            elif state:
                raise SessionEndedError(f"the session {session_id!r} has ended")
            elif not begun:
                self._ring(token, session_id)

    async def _withdraw(self, session_id: str, number: int) -> None:
        try:
            reply = await self._engine.run(WITHDRAW, self._names(session_id), [number])
        except StoreError as problem:
            _log.warning("a command to session %s can't be withdrawn: %s", session_id, problem)
            return
        if isinstance(reply, bytes):
            self._outbox.tell(_replica(reply), "x", session_id, "n", number)

    def _ring(self, token: bytes, session_id: str) -> None:
        self._outbox.tell(_replica(token), "c", session_id)

    # Being told

    def heard(self, told: Told) -> None:
        """What the inbox has for commands."""
        if b"c" in told:
            self.look(told[b"c"].decode())
        elif b"r" in told:
            answer = self._waiting.get(told[b"r"])
            if answer is not None and not answer.done():
                answer.set_result(told[b"a"])
        elif b"x" in told:
            which = told[b"x"].decode(), told[b"n"]
            scope = self._in_hand.get(which)
            if scope is not None:
                scope.cancel()
                return
            self._withdrawn[which] = True
            if len(self._withdrawn) > MOST_WAITING:
                del self._withdrawn[next(iter(self._withdrawn))]

    def look(self, session_id: str) -> None:
        """Commands may wait for this session."""
        self._rung[session_id] = None
        self._more.set()

    # Doing

    async def serve(self, holder: Holder) -> None:
        """Do what is asked of sessions held here, until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                await self._more.wait()
                self._more = anyio.Event()
                rung, self._rung = self._rung, {}
                for session_id in rung:
                    try:
                        await self._fetch(session_id, holder, tasks)
                    except StoreError as problem:
                        _log.warning("commands to %s can't be read: %s", session_id, problem)
                        self._unsure.add(session_id)
                        tasks.start_soon(self._look_later, session_id)

    async def _look_later(self, session_id: str) -> None:
        await anyio.sleep(LOOK)
        self.look(session_id)

    async def _fetch(self, session_id: str, holder: Holder, tasks: TaskGroup) -> None:
        token = self._writing.token(session_id)
        if token is None:
            return
        unsure = session_id in self._unsure
        found = await self._engine.run(
            FETCH, self._names(session_id), [token, int(unsure)]
        ).finished()
        self._unsure.discard(session_id)
        for number, text in zip(found[::2], found[1::2], strict=True):
            if (session_id, number) in self._in_hand or not text:
                continue
            asker, body = _asker_and_body(text)
            doing = holder.command(session_id, body)
            scope = self._in_hand[session_id, number] = anyio.CancelScope()
            if self._withdrawn.pop((session_id, number), False):
                scope.cancel()
            tasks.start_soon(self._do, session_id, number, asker, doing, scope)

    async def _do(
        self,
        session_id: str,
        number: bytes,
        asker: bytes,
        doing: Awaitable[bytes],
        scope: anyio.CancelScope,
    ) -> None:
        answer = GONE
        try:
            try:
                with scope:
                    answer = DONE + await doing
            except Exception:
                _log.exception("a command to session %s failed", session_id)
            finally:
                steps = self._answer(session_id, number, asker, answer)
            await self._crossed_out(session_id, number, steps)
        finally:
            del self._in_hand[session_id, number]

    def _answer(self, session_id: str, number: bytes, asker: bytes, answer: bytes) -> Sequence[Op]:
        """Begin to answer, and in the same write to cross the command out."""
        self._outbox.tell(asker.partition(b" ")[0].decode(), "r", asker, "a", answer)
        return self._cross_out(session_id, number)

    def _cross_out(self, session_id: str, number: bytes) -> Sequence[Op]:
        _, _, commands, begun = self._names(session_id)
        return [self._engine.do("HDEL", names, number) for names in (commands, begun)]

    async def _crossed_out(self, session_id: str, number: bytes, steps: Sequence[Op]) -> None:
        """Until it is, it may be read once more, and who asked believes it to be in hand."""
        while True:
            try:
                for step in steps:
                    await step
            except StoreError:
                await anyio.sleep(LOOK)
                if not self._writing.holds(session_id):
                    return
                steps = self._cross_out(session_id, number)
            else:
                return

    async def inherit(self, session_id: str, token: str) -> None:
        """Answer those whom the holder before left without an answer."""
        found = await self._engine.run(IN_HAND, self._names(session_id), [token])
        self._answer_all(session_id, found, GONE)

    async def refuse(self, session_id: str, token: str) -> None:
        """The session has ended: answer those whose commands were not begun."""
        found = await self._engine.run(FETCH, self._names(session_id), [token, 0])
        self._answer_all(session_id, found, OVER)

    def _answer_all(self, session_id: str, found: Sequence[bytes], answer: bytes) -> None:
        """The same answer to all that a script found: number, command, number, …"""
        for number, text in zip(found[::2], found[1::2], strict=True):
            if text:
                self._answer(session_id, number, _asker_and_body(text)[0], answer)

    def _names(self, session_id: str) -> Sequence[str]:
        return [self._keys.of(session_id, what) for what in ("s", "q", "qc", "qb")]


def _asker_and_body(command: bytes) -> tuple[bytes, bytes]:
    """``<replica> <number> <body>`` in two parts."""
    replica, number, body = command.split(b" ", 2)
    return b"%b %b" % (replica, number), body


def _replica(token: bytes) -> str:
    return token.partition(b".")[0].decode()


def _opened(session_id: str, answer: bytes) -> bytes:
    if answer.startswith(DONE):
        return answer[len(DONE) :]
    if answer == OVER:
        raise SessionEndedError(f"the session {session_id!r} has ended")
    raise _lost(session_id)


def _lost(session_id: str) -> SessionLostError:
    return SessionLostError(
        f"the process that ran session {session_id!r} has gone with this in hand: it may have"
        " been done or not"
    )


def _refused(session_id: str, reply: int) -> BrokerError:
    if reply == MISSING:
        return not_found(session_id)
    if reply == ENDED:
        return SessionEndedError(f"the session {session_id!r} has ended")
    return MailboxFullError(f"{MOST_WAITING} commands to session {session_id!r} are not done yet")
