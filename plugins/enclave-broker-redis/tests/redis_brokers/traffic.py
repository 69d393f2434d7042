"""Calls that go on while servers fail, in sessions of brokers in the test's own process."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from enclave_broker_core import BrokerError, Session, SessionNotFoundError, StoreError
from enclave_broker_core.session_handle import SessionHandle

from .together import Replica

PATIENCE = 30.0


async def echo(n: int) -> int:
    return n


class Traffic:
    """One session of each broker, in which calls are made at every broker all the time."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = replicas
        self._number = 0
        self.sessions: list[Session] = []
        self.errors: list[BrokerError] = []
        self.done = 0
        self._progress = anyio.Event()

    def codes(self) -> Counter[str]:
        return Counter(error.code for error in self.errors)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Calls are made during the block; what they raise must be errors of the broker's."""
        self.sessions = [await one.broker.create_session() for one in self._replicas]
        async with anyio.create_task_group() as tasks:
            for session in self.sessions:
                for one in self._replicas:
                    handle = await one.broker.get_session(session.id)
                    tasks.start_soon(self._call, handle)
            yield
            tasks.cancel_scope.cancel()

    async def _call(self, session: SessionHandle) -> None:
        while True:
            self._number += 1
            number = self._number
            try:
                got = await session.call("echo", {"n": number})
            except BrokerError as error:
                self.errors.append(error)
                await anyio.sleep(0.02)
            else:
                if got != number:
                    raise AssertionError(f"{got} is not the answer to {number}")
                self.done += 1
            self._progress.set()
            self._progress = anyio.Event()

    async def until_done(self, more: int = 20) -> None:
        """So many more calls go well."""
        await self._until(lambda: self.done, more)

    async def until_failed(self, more: int = 1) -> None:
        """So many more calls fail."""
        await self._until(lambda: len(self.errors), more)

    async def _until(self, count: Any, more: int) -> None:
        wanted = count() + more
        with anyio.fail_after(PATIENCE):
            while count() < wanted:
                await self._progress.wait()

    async def works_again(self) -> None:
        """Every broker makes sessions, and calls are made at every other."""
        with anyio.fail_after(PATIENCE):
            for one in self._replicas:
                session = await tried(one.broker.create_session)
                for other in self._replicas:
                    handle = await tried(other.broker.get_session, session.id)
                    await tried(handle.call, "echo", {"n": 1})
                await tried(session.complete)
                events = [event.type async for event in session.events()]
                assert (events[0], events[-1], events.count("final")) == (
                    "session_init",
                    "final",
                    1,
                )

    async def logs(self) -> dict[str, list[tuple[int, str, Any]]]:
        """The logs of those sessions that there still are, when each has been ended."""
        logs = {}
        for session in self.sessions:
            await session.cancel("over")
            try:
                logs[session.id] = [
                    (event.seq, event.type, event.payload) async for event in session.events()
                ]
            except SessionNotFoundError:
                continue
        return logs


async def tried(act: Any, *given: Any) -> Any:
    """What comes of it, when it is tried again as long as its error says that this may help."""
    while True:
        try:
            return await act(*given)
        except StoreError as error:
            if error.retry_after is None:
                raise
        await anyio.sleep(0.05)


def wrong_in(log: Sequence[tuple[int, str, Any]]) -> list[str]:
    """Gaps in a log, and what is in it twice."""
    seqs = [seq for seq, _, _ in log]
    wrong = [] if seqs == list(range(1, len(log) + 1)) else [f"the log has {seqs}"]
    found = Counter(
        (type, payload.get("callId"))
        for _, type, payload in log
        if type in ("session_init", "tool_call", "tool_result_applied", "final")
    )
    return [*wrong, *(f"{one} is there {count} times" for one, count in found.items() if count > 1)]
