"""Takes sandboxed code from one of its waits to the next, in a worker's thread."""

from __future__ import annotations

from pydantic_monty import (
    FunctionSnapshot,
    FutureSnapshot,
    MontyComplete,
    NameLookupSnapshot,
)

from .catalog import Catalog
from .host_calls import HostCall, HostCalls
from .worker import Worker

Snapshot = FunctionSnapshot | NameLookupSnapshot | FutureSnapshot | MontyComplete
Waiting = FunctionSnapshot | FutureSnapshot


class Driving:
    """Answers the steps of one run, of which a restored one goes on like any other.

    A call that the code makes is begun on the loop: at once when the code goes on without
    it, else when the thread has come to the wait for it, which saves a wake-up of the loop.
    """

    def __init__(self, calls: HostCalls, catalog: Catalog) -> None:
        self._calls = calls
        self._catalog = catalog
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
                    for number in snapshot.pending_call_ids
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
            self.blocking = self._calls.announce_sleep((float(args[0]),))
            self.to_begin.append(self.blocking)
            return None
        try:
            call = self._announce(snapshot, name, args, kwargs)
        except (TypeError, NameError) as mistake:
            return snapshot.resume({"exception": mistake})
        if call is None:
            return snapshot.resume_auto()
        self.pending[snapshot.call_id] = call
        if snapshot.allow_eager_await:
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
            return self._calls.announce_sleep(args) if name == "asyncio.sleep" else None
        if name == "call_tool":
            return self._calls.announce_tool(args, kwargs)
        signature = self._catalog.current().functions.get(name.removeprefix("tools."))
        if signature is None:
            raise NameError(f"name {name!r} is not defined")
        return self._calls.announce_function(signature, args, kwargs)
