"""One connection to one server, on which the operations of all tasks go out together."""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ResponseError,
)

from enclave_broker_core.errors import StoreError

from .connecting import BROKEN
from .failures import meaning_of, refusal, unanswered, unreachable
from .ops import Op

# More than these wait in the broker instead, in front of a server that is slow.
MOST_UNANSWERED = 2048
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
# When a server asks for patience.
PAUSE = 0.05
# A server is looked at so many times before its silence is taken for its end.
LOOKS = 4


class Elsewhere(Protocol):
    """Who knows where things are in a cluster."""

    def moved(self, op: Op, problem: AskError) -> None:
        """Send the operation to where the error says, for this time or for good."""

    def troubled(self) -> None:
        """A node can't be reached: its place may be another's."""


class Lane:
    """Operations for one server, sent in the order in which they were asked for.

    Nothing waits for the answers before it. When the connection breaks it is made anew and
    what was not answered is sent again, before all else, if it may be. ``timeout`` is how
    many seconds the server may be silent; ``retry_for`` how long an operation in trouble is
    tried again. While there has been no connection for longer than that, all fail at once.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[AbstractConnection]],
        timeout: float,
        retry_for: float,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.name = name
        self._connect = connect
        self._timeout = timeout
        self._retry_for = retry_for
        self._elsewhere = elsewhere
        self._loop = asyncio.get_running_loop()
        self._returned: deque[Op] = deque()
        self._waiting: deque[Op] = deque()
        self._sent: deque[Op] = deque()
        self._resting: set[Op] = set()
        self._bell: asyncio.Future[None] | None = None
        self._answers = 0
        self._down_since: float | None = self._loop.time()
        self._problem: BaseException = ConnectionError("it was not connected to yet")
        self._demoted: Exception | None = None
        self._hopeless = False
        self._closed = False
        self._scope = anyio.CancelScope()

    @property
    def idle(self) -> bool:
        return not (self._returned or self._waiting or self._sent or self._resting)

    def submit(self, op: Op) -> None:
        if self._hopeless or self._closed:
            # Not at once: who tries again and again is to let others have their turn.
            self._loop.call_soon(op.fail, unreachable(self.name, self._problem))
            return
        if self._down_since is not None and op.give_up_at is None:
            op.give_up_at = self._loop.time() + self._retry_for
        self._waiting.append(op)
        self._ring()

    def take_back(self) -> list[Op]:
        """What has not been sent, for another lane."""
        unsent = [*self._returned, *self._waiting]
        self._returned.clear()
        self._waiting.clear()
        return unsent

    def close(self) -> None:
        self._scope.cancel()

    def _ring(self) -> None:
        bell, self._bell = self._bell, None
        if bell is not None and not bell.done():
            bell.set_result(None)

    async def run(self) -> None:
        """Keep the connection, until cancelled; then whatever is left fails."""
        pause = FIRST_PAUSE
        try:
            with self._scope:
                while True:
                    try:
                        connection = await self._connect()
                    except BROKEN as problem:
                        self._fall(problem)
                    else:
                        before = self._answers
                        try:
                            self._rise()
                            await self._talk(connection)
                        finally:
                            with anyio.CancelScope(shield=True):
                                await connection.disconnect(nowait=True)
                        if self._answers > before and self._demoted is None:
                            pause = FIRST_PAUSE
                    await anyio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._closed = True
            for op in (*self._sent, *self.take_back(), *self._resting):
                op.fail(StoreError(f"the connection to {self.name} was closed"))

    def _rise(self) -> None:
        self._down_since = self._demoted = None
        self._hopeless = False

    def _fall(self, problem: BaseException) -> None:
        """The connection broke or can't be had: sort out what goes on and what is over."""
        now = self._loop.time()
        self._problem = problem
        if self._down_since is None:
            self._down_since = now
        down_for = now - self._down_since
        self._hopeless = down_for >= self._retry_for or isinstance(problem, AuthenticationError)
        left = [op for op in self._sent if op.again]
        for op in self._sent:
            if not op.again:
                op.fail(unanswered(self.name, problem))
        self._sent.clear()
        for op in (*left, *self.take_back()):
            if op.give_up_at is None:
                op.give_up_at = now + self._retry_for
            if self._hopeless or op.give_up_at <= now:
                op.fail(unreachable(self.name, problem))
            else:
                self._waiting.append(op)
        if self._elsewhere is not None:
            self._elsewhere.troubled()

    # While there is a connection

    async def _talk(self, connection: AbstractConnection) -> None:
        """Send and receive until it breaks."""
        problems: list[BaseException] = []

        async def until_broken(part: Callable[[AbstractConnection], Awaitable[None]]) -> None:
            try:
                await part(connection)
            except BROKEN as problem:
                problems.append(problem)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for part in (self._write, self._read, self._watch):
                tasks.start_soon(until_broken, part)
        if problems:
            self._fall(problems[0])

    async def _write(self, connection: AbstractConnection) -> None:
        returned, waiting, sent = self._returned, self._waiting, self._sent
        known: set[str] = set()
        while True:
            if not (returned or waiting) or len(sent) >= MOST_UNANSWERED or self._demoted:
                self._bell = self._loop.create_future()
                await self._bell
                continue
            pieces = []
            while (returned or waiting) and len(sent) < MOST_UNANSWERED:
                op = returned.popleft() if returned else waiting.popleft()
                if op.asking:
                    asking = Op(("ASKING",), op.key, again=False)
                    pieces.append(asking.packed())
                    sent.append(asking)
                if op.script is not None and op.script.sha not in known:
                    # Those behind it need not wait until it is there.
                    known.add(op.script.sha)
                    op.with_source()
                pieces.append(op.packed())
                sent.append(op)
            await connection.send_packed_command([b"".join(pieces)], check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        sent = self._sent
        read = connection.read_response
        while True:
            try:
                reply = await read(
                    disable_decoding=True, timeout=math.inf, disconnect_on_error=False
                )
            except (ResponseError, BusyLoadingError) as problem:
                reply = problem
            self._answers += 1
            op = sent.popleft()
            if isinstance(reply, Exception):
                self._refused(op, reply)
            else:
                op.answer(reply)
            if self._demoted is not None and not sent:
                raise self._demoted
            if (self._returned or self._waiting) and len(sent) < MOST_UNANSWERED // 2:
                self._ring()

    async def _watch(self, connection: AbstractConnection) -> None:
        """Break a connection on which nothing comes though something should."""
        silent = 0
        while True:
            before = self._answers
            await anyio.sleep(self._timeout / LOOKS)
            silent = silent + 1 if self._sent and self._answers == before else 0
            if silent >= LOOKS:
                raise TimeoutError(f"no answer in {self._timeout:g} s")

    def _refused(self, op: Op, problem: Exception) -> None:
        """The server has not done it: try again here, elsewhere or later, or give up."""
        meaning = meaning_of(problem)
        if meaning == "script" and op.with_source():
            self._returned.append(op)
            return
        if isinstance(problem, AskError) and self._elsewhere is not None:
            if self._in_time(op, problem):
                self._elsewhere.moved(op, problem)
        elif meaning == "primary":
            # Its answers to what was sent besides are still worth having.
            self._demoted = problem
            if self._in_time(op, problem):
                self._returned.append(op)
        elif meaning == "later":
            if self._in_time(op, problem):
                self._resting.add(op)
                self._loop.call_later(PAUSE, self._rested, op)
        else:
            op.fail(refusal(self.name, problem))

    def _in_time(self, op: Op, problem: Exception) -> bool:
        """Whether it may be tried again; if not, it fails."""
        now = self._loop.time()
        if op.give_up_at is None:
            op.give_up_at = now + self._retry_for
        if op.give_up_at > now:
            return True
        op.fail(refusal(self.name, problem))
        return False

    def _rested(self, op: Op) -> None:
        if op in self._resting:
            self._resting.discard(op)
            self.submit(op)
