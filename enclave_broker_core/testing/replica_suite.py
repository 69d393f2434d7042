"""What the suites for shared and lasting stores have in common: replicas of one backend."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, Protocol

import anyio

from enclave_broker_core.models import SessionRecord
from enclave_broker_core.store_abilities import LeasedStore

from .samples import record
from .suite import Suite


class Backend(Protocol):
    """What several stores share, new and empty for each test."""

    def replica(self) -> AbstractAsyncContextManager[Any]:
        """One more store, as another process would open it."""

    async def silence(self, store: Any) -> None:
        """Let the store say nothing more to the others, as when its process is stopped.

        It may still be asked for things, and then does them or finds that it has lost them.
        """


class ReplicaSuite(Suite):
    """``open_backend`` gives each test a new backend.

    ``patience`` is after how many seconds something that should have happened counts as
    forgotten; the stores' lease should be a fraction of a second.
    """

    patience: ClassVar[float] = 15.0

    def open_backend(self) -> AbstractAsyncContextManager[Backend]:
        raise NotImplementedError("the subclass says what its stores share")

    @asynccontextmanager
    async def open_replicas(self, count: int) -> AsyncIterator[tuple[Backend, list[Any]]]:
        """A backend and so many stores on it; none of them is served."""
        async with self.open_backend() as backend, anyio.create_task_group() as tasks:
            done = anyio.Event()
            stores = [await tasks.start(_open, backend, done) for _ in range(count)]
            try:
                yield backend, stores
            finally:
                done.set()

    @asynccontextmanager
    async def served(self, count: int) -> AsyncIterator[tuple[Backend, list[Served]]]:
        """A backend and so many stores on it, each served for a holder that takes notes."""
        async with (
            self.open_replicas(count) as (backend, stores),
            anyio.create_task_group() as tasks,
        ):
            found = [Served(store) for store in stores]
            for one in found:
                tasks.start_soon(one.serve)
            # A broker's store is served before anything is asked of it. One that renews as
            # often as asyncio is looked at is never seen at rest.
            with anyio.move_on_after(0.3):
                await anyio.wait_all_tasks_blocked()
            try:
                yield backend, found
            finally:
                tasks.cancel_scope.cancel()


async def _open(backend: Backend, done: anyio.Event, *, task_status: Any) -> None:
    async with backend.replica() as store:
        task_status.started(store)
        await done.wait()


class Served:
    """A store that is served, and what its holder was told.

    ``acts`` does the commands; ``takes_up`` is called with each record that is taken up.
    """

    def __init__(self, store: Any) -> None:
        self.store = store
        self._scope = anyio.CancelScope()
        self.lost_ids: list[str] = []
        self.taken_up: list[SessionRecord] = []
        self.commands: list[tuple[str, bytes]] = []
        self.acts: Callable[[str, bytes], Awaitable[bytes]] = _echo
        self.takes_up: Callable[[SessionRecord], Awaitable[None]] = _nothing
        self._changed = anyio.Event()

    async def serve(self) -> None:
        with self._scope:
            await self.store.serve(self)

    def stop_serving(self) -> None:
        """As when its broker closes."""
        self._scope.cancel()

    # The Holder

    def lost(self, session_id: str) -> None:
        self.lost_ids.append(session_id)
        self._notify()

    async def take_up(self, found: SessionRecord) -> None:
        await self.takes_up(found)
        self.taken_up.append(found)
        self._notify()

    def command(self, session_id: str, body: bytes) -> Awaitable[bytes]:
        self.commands.append((session_id, body))
        self._notify()
        return self.acts(session_id, body)

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when it holds; it is looked at whenever the holder was told something."""
        while not holds():
            await self._changed.wait()


async def _echo(session_id: str, body: bytes) -> bytes:
    return b"done: " + body


async def _nothing(found: SessionRecord) -> None:
    return None


def lasting(id: str = "s_1", **fields: Any) -> SessionRecord:
    """A session that began just now."""
    now = time.time()
    return record(id, **({"created_at": now, "expires_at": now + 3600} | fields))


async def until(holds: Callable[[], bool]) -> None:
    """Return when it holds, which nothing tells: it is looked at again and again."""
    while not holds():  # noqa: ASYNC110
        await anyio.sleep(0.005)


async def over(store: LeasedStore) -> None:
    """Wait until a lease that was not renewed is over: what this waits for is the time."""
    await anyio.sleep(store.lease * 1.2)
