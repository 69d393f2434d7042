"""One run of code, from taking a worker to giving it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
from pydantic_monty import (
    ExternalModule,
    FutureSnapshot,
    MontyComplete,
    MontyError,
    MontySession,
    ResourceLimits,
)

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.once import Once

from . import prelude
from .catalog import Catalog
from .checkpoints import Checkpoint
from .driving import Driving, Snapshot, Waiting
from .failures import explain, heap_is_sound
from .helpers import Helpers
from .host_calls import HostCalls
from .output import Output
from .saved_state import SavedState
from .worker import Worker
from .workers import Workers


class Run:
    """Runs code once. ``state`` is at first the state to run in, then the one to keep.

    That of the ``last`` run is not kept: a dump costs a tenth of a short session. A run that
    has waited for its calls for ``park_after`` seconds is dumped and gives its worker to
    others; it goes on with the next free one. A durable run saves a checkpoint wherever it
    comes to wait for calls that have not begun, and only then begins them.
    """

    def __init__(
        self,
        host: RuntimeHost,
        workers: Workers,
        catalog: Catalog,
        limits: ResourceLimits,
        state: SavedState,
        *,
        park_after: float | None,
        type_check: bool,
        last: bool,
    ) -> None:
        self.state = state
        self._host = host
        self._workers = workers
        self._catalog = catalog
        self._limits = limits
        self._park_after = park_after
        self._type_check = type_check
        self._last = last
        self._has_prelude = state.has_prelude
        self._scope = anyio.CancelScope()
        self._failure: Exception | None = None
        self._helpers = Helpers(self._stop)
        self._output = Output(host, self._stop, self._helpers)
        self._calls = HostCalls(host, self._output, self._helpers, self._stop)
        self._driving = Driving(self._calls, catalog, durable=host.durable)
        self._next_state = state
        self._prepared = False
        self._worker: Worker | None = None
        self._parked = b""
        self._saved = False
        self._parking: Once | None = None

    async def __call__(self, code: str) -> Any:
        """The value of the last expression as the sandbox gives it; raises BrokerError.

        When this returns or raises, also by cancellation, the worker is on its way back and
        no host call is left.
        """
        return await self._whole(lambda worker: self._begin(worker, code), patient=False)

    async def resume(self, checkpoint: Checkpoint) -> Any:
        """The same for a run that another process has brought up to ``checkpoint``."""
        self._has_prelude = checkpoint.has_prelude
        self._parked = checkpoint.snapshot
        self._saved = True
        self._driving.restore(checkpoint.awaited)
        return await self._whole(self._restore, patient=True)

    async def _whole(self, begin: Callable[[Worker], Snapshot], *, patient: bool) -> Any:
        value = None
        try:
            with self._scope:
                try:
                    self._worker = await self._workers.take(patient=patient)
                    value = await self._to_the_end(begin)
                except MontyError as error:
                    await self._output.flush()
                    if self._failure is None:
                        self.state = self._next_state
                    self._stop(explain(error, self._limits))
                except Exception as error:
                    self._stop(error)
        finally:
            await self._calls.close()
            await self._helpers.close()
            if self._worker is not None:
                self._workers.give_back(self._worker)
        if self._failure is not None:
            raise self._failure
        return value

    def _stop(self, error: Exception) -> None:
        """End the run with ``error``; the first one counts."""
        if self._failure is None:
            self._failure = error
        self._scope.cancel()

    async def _to_the_end(self, begin: Callable[[Worker], Snapshot]) -> Any:
        snapshot = await self._step(begin)
        while not isinstance(snapshot, MontyComplete):
            waiting = snapshot
            if await self._wait(waiting):
                snapshot = await self._step(lambda worker: waiting)  # noqa: B023
            else:
                # The run has begun and others may depend on it: it waits as long as it must.
                self._worker = await self._workers.take(patient=True)
                snapshot = await self._step(self._restore)
        await self._output.flush()
        if self._failure is None:
            self.state = self._next_state
        return snapshot.output

    async def _wait(self, waiting: Waiting) -> bool:
        """Return when one of the calls that the code waits for has an outcome; False when the
        run has been parked meanwhile."""
        begun, self._driving.to_begin = self._driving.to_begin, []
        if begun and self._host.durable:
            await self._checkpoint(waiting)
        calls = self._driving.waits_for()
        timer = None
        if self._park_after is not None and isinstance(waiting, FutureSnapshot):
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._park_after, self._park_soon, waiting)
        try:
            if len(calls) == 1 and begun == calls:
                await self._calls.perform(calls[0])
            else:
                for call in begun:
                    self._calls.begin(call)
                await self._calls.one_of(calls)
        finally:
            if timer is not None:
                timer.cancel()
        if self._parking is not None:
            await self._parking.wait()
            self._parking = None
        return self._worker is not None

    async def _checkpoint(self, waiting: Waiting) -> None:
        worker, already, self._saved = self._worker, self._saved, False
        if worker is None or already:
            return
        await self._output.flush()
        snapshot = await worker.do(waiting.dump)
        awaited = self._driving.awaited()
        saved = Checkpoint(snapshot, self.state, self._has_prelude, awaited)
        keys = [str(call.number) for call in awaited if call.tool is not None]
        await self._host.checkpoint(saved.to_bytes(), keys)

    def _park_soon(self, waiting: FutureSnapshot) -> None:
        self._parking = Once()
        self._helpers.start(self._park(waiting, self._parking))

    async def _park(self, waiting: FutureSnapshot, done: Once) -> None:
        """Dump the run that waits, and let others have its worker."""
        worker = self._worker
        try:
            if worker is not None:
                self._parked = await worker.do(waiting.dump)
                self._worker = None
                self._workers.give_back(worker)
        finally:
            done.set()

    async def _step(self, make: Callable[[Worker], Snapshot]) -> Waiting | MontyComplete:
        """From the snapshot that ``make`` makes to the next wait, in the worker's thread."""
        worker = self._worker
        assert worker is not None  # noqa: S101
        return await worker.do(lambda: self._go(worker, make))

    # In the worker's thread

    def _go(self, worker: Worker, make: Callable[[Worker], Snapshot]) -> Waiting | MontyComplete:
        try:
            snapshot = self._driving.go(worker, make(worker))
        except MontyError as error:
            # The type checker forgets what a failed run defined, so there the heap does as well.
            if self._prepared and not self._type_check and heap_is_sound(error, self._limits):
                self._keep(worker)
            raise
        if isinstance(snapshot, MontyComplete):
            self._keep(worker)
        return snapshot

    def _begin(self, worker: Worker, code: str) -> Snapshot:
        session = self._enter(worker)
        if self.state.heap:
            session.load_session(self.state.heap)
        if not self._has_prelude and prelude.needed_by(code):
            session.feed_run(prelude.SOURCE, skip_type_check=True)
            self._has_prelude = True
        self._prepared = True
        return session.feed_start(
            code, external_lookup=self._calls.lookup(), print_callback=self._output.printed
        )

    def _restore(self, worker: Worker) -> Snapshot:
        self._prepared = False
        snapshot = self._enter(worker).load_snapshot(
            self._parked,
            external_lookup=self._calls.lookup(),
            print_callback=self._output.printed,
        )
        self._prepared = True
        return snapshot

    def _enter(self, worker: Worker) -> MontySession:
        worker.enter(
            self._workers.checkout(
                limits=self._limits,
                modules={"tools": self._tools},
                stubs=prelude.STUBS if self._type_check else None,
            )
        )
        return worker.session

    def _tools(self) -> ExternalModule:
        module = self._catalog.current()
        return self._calls.module(module.functions, module.stubs)

    def _keep(self, worker: Worker) -> None:
        if not self._last:
            self._next_state = SavedState(worker.session.dump(), self._has_prelude)
