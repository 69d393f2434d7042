"""One run of code, from taking a worker to giving it back."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import anyio
from pydantic_monty import AsyncMontySession, ExternalModule, MontyError, ResourceLimits

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import BrokerError

from . import prelude
from .catalog import Catalog
from .failures import explain, heap_is_sound
from .feeding import Feeding
from .helpers import Helpers
from .host_calls import HostCall, HostCalls
from .output import Output
from .parking import Driver, ParkedRun
from .saved_state import SavedState
from .workers import Workers


class Run:
    """Runs code once. ``state`` is at first the state to run in, then the one to keep.

    That of the ``last`` run is not kept: a dump costs a tenth of a short session.
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
        self._workers = workers
        self._catalog = catalog
        self._limits = limits
        self._park_after = park_after
        self._type_check = type_check
        self._last = last
        self._has_prelude = state.has_prelude
        self._scope = anyio.CancelScope()
        self._failure: Exception | None = None
        self._parked: ParkedRun | None = None
        self._helpers = Helpers(self._stop)
        self._output = Output(host, self._stop, self._helpers)
        self._calls = HostCalls(host, self._output, self._stop)

    async def __call__(self, code: str) -> Any:
        """The value of the last expression as the sandbox gives it; raises BrokerError.

        When this returns or raises, also by cancellation, the worker is on its way back and
        no host call is left.
        """
        try:
            value = await self._within_scope(self._feed(code))
            if self._parked is not None and self._failure is None:
                self._scope = anyio.CancelScope()
                value = await self._within_scope(self._go_on(self._parked))
        finally:
            await self._calls.close()
            await self._helpers.close()
        if self._failure is not None:
            raise self._failure
        return value

    async def _within_scope(self, work: Coroutine[Any, Any, Any]) -> Any:
        with self._scope:
            try:
                return await work
            except Exception as error:
                self._stop(error)
        return None

    def _stop(self, error: Exception) -> None:
        """End the run with ``error``; the first one counts."""
        if self._failure is None:
            self._failure = error
        self._scope.cancel()

    async def _feed(self, code: str) -> Any:
        """The code's value, unless the run is parked meanwhile."""
        session = await self._take_worker()
        try:
            try:
                await self._prepare(session, code)
            except MontyError as error:
                raise explain(error, self._limits) from None
            feeding = Feeding(
                session,
                self._workers,
                self._calls,
                self._output,
                self._helpers,
                self._park_after,
                self._park,
            )
            try:
                value = await feeding.run(code)
                if self._parked is None:
                    await self._keep(session)
            except MontyError as error:
                raise await self._failed(session, error) from None
            return value
        finally:
            self._workers.give_back(session)

    def _park(self, parked: ParkedRun) -> None:
        """Leave the worker; the run goes on from ``parked``."""
        self._parked = parked
        self._calls.hold()
        self._scope.cancel()

    async def _prepare(self, session: AsyncMontySession, code: str) -> None:
        if self.state.heap:
            await session.load_session(self.state.heap)
        if not self._has_prelude and prelude.needed_by(code):
            await session.feed_run(prelude.SOURCE, skip_type_check=True)
            self._has_prelude = True

    async def _go_on(self, parked: ParkedRun) -> Any:
        """Finish a parked run, on a new worker each time that it has waited long."""
        self._calls.let_go()

        def spawn(call: HostCall) -> None:
            self._helpers.start(self._calls.perform_quietly(call))

        functions = self._catalog.current().functions
        driver = Driver(self._calls, functions, spawn, self._park_after)
        while True:
            while not parked.can_go_on():
                await self._calls.change()
            # The run has begun and others may depend on it: now it waits as long as it must.
            session = await self._take_worker(patient=True)
            try:
                snapshot = await session.load_snapshot(
                    parked.snapshot,
                    external_lookup=self._calls.lookup(),
                    print_callback=self._output.printed,
                    os=self._calls.os,
                )
                end = await driver.drive(parked, session, snapshot)
                if end is not None:
                    await self._keep(session)
                    return end.output
            except MontyError as error:
                raise await self._failed(session, error) from None
            finally:
                self._workers.give_back(session)

    async def _take_worker(self, *, patient: bool = False) -> AsyncMontySession:
        return await self._workers.take(
            limits=self._limits,
            modules={"tools": self._tools},
            stubs=prelude.STUBS if self._type_check else None,
            patient=patient,
        )

    async def _tools(self) -> ExternalModule:
        module = self._catalog.current()
        return self._calls.module(module.functions, module.stubs)

    async def _failed(self, session: AsyncMontySession, error: MontyError) -> BrokerError:
        # The type checker forgets what a failed run defined, so there the heap does as well.
        if heap_is_sound(error, self._limits) and not self._type_check:
            await self._keep(session)
        else:
            await self._output.flush()
        return explain(error, self._limits)

    async def _keep(self, session: AsyncMontySession) -> None:
        await self._output.flush()
        if not self._last:
            self.state = SavedState(await session.dump(), self._has_prelude)
