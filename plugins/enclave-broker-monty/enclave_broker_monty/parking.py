"""Going on with a run whose state was dumped while it waited for host calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import anyio
from pydantic_monty import (
    AsyncFunctionSnapshot,
    AsyncFutureSnapshot,
    AsyncMontySession,
    AsyncSnapshot,
    MontyComplete,
)
from pydantic_monty import ExternalResult as Answer

from .host_calls import HostCall, HostCalls
from .signatures import Signature

Spawn = Callable[[HostCall], None]


@dataclass(slots=True)
class ParkedRun:
    """A run without a worker, and the calls that it waits for by the sandbox's numbers."""

    snapshot: bytes
    pending: dict[int, HostCall]

    @classmethod
    async def of(
        cls, snapshot: bytes, calls: Sequence[HostCall], viewer: AsyncMontySession
    ) -> ParkedRun | None:
        """The run in ``snapshot`` if it waits for ``calls``, in the order made, and no other.

        A dump beside ``feed_run`` may fall between two steps of it: of a call that this side
        has not heard of, or before the result of one that it has long given. What the run
        waits for is seen only in the restored run, so ``viewer`` restores it.
        """
        waiting = await viewer.load_snapshot(snapshot)
        numbers: list[int] = []
        if isinstance(waiting, AsyncFutureSnapshot):
            numbers = sorted(waiting.pending_call_ids)
        elif isinstance(waiting, AsyncFunctionSnapshot) and waiting.allow_eager_await:
            # Awaited at once, and no other call is open.
            numbers = [waiting.call_id]
        if len(numbers) != len(calls):
            return None
        # Both sides count calls in the order in which the code makes them.
        return cls(snapshot, dict(zip(numbers, calls, strict=True)))

    def can_go_on(self) -> bool:
        return any(call.outcome is not None for call in self.pending.values())


class Driver:
    """Answers a restored run's calls one by one, from outside of the sandbox.

    A run begins with ``feed_run``, which is the faster way for a call that is awaited at
    once, but can't take up a snapshot. ``spawn`` starts a call in the run's task group.
    """

    def __init__(
        self,
        calls: HostCalls,
        functions: Mapping[str, Signature],
        spawn: Spawn,
        park_after: float | None,
    ) -> None:
        self._calls = calls
        self._functions = functions
        self._spawn = spawn
        self._park_after = park_after

    async def drive(
        self, run: ParkedRun, session: AsyncMontySession, snapshot: AsyncSnapshot
    ) -> MontyComplete | None:
        """Go on to the run's end, or to where it has waited ``park_after`` seconds again.

        In the second case ``run`` is parked anew and the answer is None.
        """
        if isinstance(snapshot, AsyncFunctionSnapshot):
            # The call that was awaited at once is announced again.
            snapshot = await snapshot.resume({"future": ...})
        while not isinstance(snapshot, MontyComplete):
            if isinstance(snapshot, AsyncFutureSnapshot):
                settled = {
                    number: outcome
                    for number in snapshot.pending_call_ids
                    if (outcome := run.pending[number].outcome) is not None
                }
                if settled:
                    for number in settled:
                        del run.pending[number]
                    snapshot = await snapshot.resume(settled)
                elif not await self._change():
                    run.snapshot = await session.dump()
                    return None
            elif isinstance(snapshot, AsyncFunctionSnapshot):
                snapshot = await self._answer(run, snapshot)
            else:
                snapshot = await snapshot.resume_auto()
        return snapshot

    async def _answer(self, run: ParkedRun, snapshot: AsyncFunctionSnapshot) -> AsyncSnapshot:
        try:
            call = self._announce(snapshot)
        except (TypeError, NameError) as mistake:
            return await snapshot.resume({"exception": mistake})
        if call is None:
            return await snapshot.resume_auto()
        run.pending[snapshot.call_id] = call
        self._spawn(call)
        later: Answer = {"future": ...}
        return await snapshot.resume(later)

    def _announce(self, snapshot: AsyncFunctionSnapshot) -> HostCall | None:
        name, args, kwargs = str(snapshot.function_name), snapshot.args, snapshot.kwargs
        if snapshot.is_os_function:
            return self._calls.announce_sleep(args) if name == "asyncio.sleep" else None
        if name == "call_tool":
            return self._calls.announce_tool(args, kwargs)
        signature = self._functions.get(name.removeprefix("tools."))
        if signature is None:
            raise NameError(f"name {name!r} is not defined")
        return self._calls.announce_function(signature, args, kwargs)

    async def _change(self) -> bool:
        """Wait for a call to begin or end; False when ``park_after`` seconds have passed."""
        with anyio.move_on_after(self._park_after):
            await self._calls.change()
            return True
        return False
