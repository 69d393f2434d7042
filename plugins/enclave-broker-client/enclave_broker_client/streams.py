"""A session's events as they come, on an event loop and without one."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from enclave_broker_core.calls import RunOutcome
from enclave_broker_core.events import Event

from .driving import Driver, SyncDriver
from .following import Following


class _Stream:
    """What both kinds of streams know."""

    def __init__(self, following: Following) -> None:
        self._following = following

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
        outcome = self._following.outcome
        if outcome is None or outcome.found is None:
            raise RuntimeError("the stream has not told how the code ended")
        return outcome.found


class EventStream(_Stream):
    """Events, for ``async for``, inside of ``async with``: each once, in order, none left out.

    A connection that breaks is made again, without a word. Raises ConnectionLostError when it
    can't be, ProtocolError for what is no event, and SessionNotFoundError when the session has
    been forgotten. To leave the block before the last event cancels nothing: the session
    goes on.
    """

    def __init__(self, driver: Driver, following: Following) -> None:
        super().__init__(following)
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
        event = await self._driver.run(self._following.next())
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

    def __init__(self, driver: SyncDriver, following: Following) -> None:
        super().__init__(following)
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
        event = self._driver.run(self._following.next())
        if event is None:
            raise StopIteration
        return event

    def finish(self) -> RunOutcome:
        """Take the events that are left; how the code ended."""
        for _ in self:
            pass
        return self.outcome
