"""A session's events as they come, on an event loop and without one."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from enclave_broker_core.calls import RunOutcome
from enclave_broker_core.events import Event

from .driving import Driver, SyncDriver
from .following import Following
from .outcomes import Outcome


class _Stream:
    """What both kinds of streams know."""

    def __init__(
        self,
        following: Following,
        outcome: Outcome | None,
        seen: Callable[[int], None] | None,
    ) -> None:
        self._following = following
        self._outcome = outcome
        self._seen = seen

    def _given(self, event: Event | None) -> Event | None:
        if event is not None and self._seen is not None:
            self._seen(event.seq)
        return event

    @property
    def session_id(self) -> str:
        return self._following.session_id

    @property
    def last_seq(self) -> int:
        """The place of the last event that was given; 0 before the first."""
        return self._following.place

    @property
    def outcome(self) -> RunOutcome:
        """How the code ended. RuntimeError until the event that tells it was given."""
        if self._outcome is None or self._outcome.found is None:
            raise RuntimeError("the stream has not told how the code ended")
        return self._outcome.found


class EventStream(_Stream):
    """Events, for ``async for``, inside of ``async with``: each once, in order, none left out.

    A connection that breaks is made again, without a word. Raises ConnectionLostError when it
    can't be, ProtocolError for what is no event, and SessionNotFoundError when the session has
    been forgotten. To leave the block before the last event cancels nothing: the session
    goes on.
    """

    def __init__(
        self,
        driver: Driver,
        following: Following,
        outcome: Outcome | None = None,
        seen: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(following, outcome, seen)
        self._driver = driver

    async def __aenter__(self) -> Self:
        try:
            await self._driver.run(self._following.begin())
        except BaseException:
            await self._driver.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._driver.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = self._given(await self._driver.run(self._following.next()))
        if event is None:
            raise StopAsyncIteration
        return event

    async def finish(self) -> RunOutcome:
        """Take the events that are left; how the code ended."""
        async for _ in self:
            pass
        return self.outcome


class SyncEventStream(_Stream):
    """Events, for ``for``, inside of ``with``; the rest is as with ``EventStream``."""

    def __init__(
        self,
        driver: SyncDriver,
        following: Following,
        outcome: Outcome | None = None,
        seen: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(following, outcome, seen)
        self._driver = driver

    def __enter__(self) -> Self:
        try:
            self._driver.run(self._following.begin())
        except BaseException:
            self._driver.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._driver.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        event = self._given(self._driver.run(self._following.next()))
        if event is None:
            raise StopIteration
        return event

    def finish(self) -> RunOutcome:
        """Take the events that are left; how the code ended."""
        for _ in self:
            pass
        return self.outcome
