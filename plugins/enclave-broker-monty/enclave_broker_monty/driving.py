"""Takes sandboxed code from one of its waits to the next, in a worker's thread."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_monty import (
    FunctionSnapshot,
    FutureSnapshot,
    MontyComplete,
    NameLookupSnapshot,
)

from enclave_broker_core.errors import BrokerError

from .catalog import Catalog
from .checkpoints import Awaited
from .host_calls import HostCall, HostCalls
from .prelude import as_exception
from .worker import Worker

Snapshot = FunctionSnapshot | NameLookupSnapshot | FutureSnapshot | MontyComplete
Waiting = FunctionSnapshot | FutureSnapshot


class Driving:
    """Answers the steps of one run, of which a restored one goes on like any other.

    A call that the code makes is begun on the loop: at once when the code goes on without
    it, else when the thread has come to the wait for it, which saves a wake-up of the loop.
    In a durable run each begins when the thread has come to a wait, which is saved first.
    """

    def __init__(self, calls: HostCalls, catalog: Catalog, *, durable: bool) -> None:
        self._calls = calls
        self._catalog = catalog
        self._durable = durable
        self.pending: dict[int, HostCall] = {}
        self.blocking: HostCall | None = None
        self.to_begin: list[HostCall] = []

    def go(self, worker: Worker, snapshot: Snapshot) -> Waiting | MontyComplete:
        """On to the run's end, or to where it waits for calls of which none has an outcome."""
        while True:
            if isinstance(snapshot, FunctionSnapshot):
                after = self._answer(worker, snapshot)
                if after is None:
                    return snapshot
                snapshot = after
            elif isinstance(snapshot, FutureSnapshot):
                settled = {
                    number: outcome
                    for number in sorted(snapshot.pending_call_ids, key=self._place)
                    if (outcome := self.pending[number].outcome) is not None
                }
                if not settled:
                    return snapshot
                for number in settled:
                    del self.pending[number]
                snapshot = snapshot.resume(settled)
            elif isinstance(snapshot, MontyComplete):
                return snapshot
            else:
                snapshot = snapshot.resume_auto()

    def _place(self, number: int) -> int:
        return self.pending[number].place

    def restore(self, awaited: Sequence[Awaited]) -> None:
        """Wait for these calls, none of which this process has begun."""
        for one in awaited:
            call = self._calls.restored(one)
            self.to_begin.append(call)
            if one.blocking:
                self.blocking = call
            else:
                self.pending[one.number] = call

    def awaited(self) -> list[Awaited]:
        """All calls that the run waits for, as a checkpoint has them."""
        calls = [*self.pending.values(), self.blocking]
        return [call.awaited for call in calls if call is not None and call.awaited is not None]

    def waits_for(self) -> list[HostCall]:
        """The calls of which one must have an outcome before the code can go on."""
        return [*self.pending.values()] if self.blocking is None else [self.blocking]

    def _answer(self, worker: Worker, snapshot: FunctionSnapshot) -> Snapshot | None:
        """The next snapshot; None when the code waits in this very call."""
        if self.blocking is not None:
            outcome = self.blocking.outcome
            if outcome is None:
                return None
            self.blocking = None
            return snapshot.resume(outcome)
        name, args, kwargs = str(snapshot.function_name), snapshot.args, snapshot.kwargs
        if snapshot.is_os_function and name == "time.sleep":
            seconds = float(snapshot.args[0])
            self.blocking = self._calls.announce_sleep(snapshot.call_id, seconds, blocking=True)
            self.to_begin.append(self.blocking)
            return None
        try:
            call = self._announce(snapshot, name, args, kwargs)
        except (TypeError, NameError) as mistake:
            return snapshot.resume({"exception": mistake})
        except BrokerError as failure:
            return snapshot.resume({"exception": as_exception(failure)})
        if call is None:
            return snapshot.resume_auto()
        self.pending[snapshot.call_id] = call
        if self._durable or snapshot.allow_eager_await:
            self.to_begin.append(call)
        else:
            worker.post(self._calls.begin, call)
        return snapshot.resume({"future": ...})

    def _announce(
        self,
        snapshot: FunctionSnapshot,
        name: str,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> HostCall | None:
        if snapshot.is_os_function:
            if name != "asyncio.sleep":
                return None
            return self._calls.announce_sleep(snapshot.call_id, float(snapshot.args[0]))
        if name == "call_tool":
            return self._calls.announce_tool(snapshot.call_id, args, kwargs)
        signature = self._catalog.current().functions.get(name.removeprefix("tools."))
        if signature is None:
            raise NameError(f"name {name!r} is not defined")
        return self._calls.announce_function(snapshot.call_id, signature, args, kwargs)
