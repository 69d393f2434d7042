"""One run of code, from taking a worker to giving it back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import cast

import anyio
from anyio.abc import TaskGroup
from pydantic_core import to_json

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import RunError
from enclave_broker_core.events import Level
from enclave_broker_core.once import Once

from .calls import Calls
from .checkpoints import Checkpoint
from .config import QuickJSConfig
from .failures import explain
from .quickjs_worker import frames
from .worker import Worker, WorkerDiedError
from .workers import Workers

LEVELS: Mapping[bytes, Level] = {b"d": "debug", b"i": "info", b"w": "warn", b"e": "error"}
GRACE = 2.0
"""Seconds in which a worker has to end a run; then it is killed."""


class Run:
    """Runs code once. ``state`` is at first the state to run in, then the one to keep.

    That of the ``last`` run is not kept. A run that has waited for its calls for ``park_after``
    seconds is saved and gives its worker to others; it goes on with the next free one. A durable
    run saves a checkpoint wherever it comes to wait for calls that have not begun, and only then
    begins them.
    """

    def __init__(
        self,
        host: RuntimeHost,
        workers: Workers,
        config: QuickJSConfig,
        state: bytes,
        *,
        last: bool,
    ) -> None:
        self.state = state
        self._host = host
        self._workers = workers
        self._config = config
        self._last = last
        self._seconds = config.max_processor_time
        if host.limits.run_timeout is not None:
            self._seconds = min(self._seconds, host.limits.run_timeout)
        self._calls = Calls(host, self._stop)
        self._scope = anyio.CancelScope()
        self._failure: Exception | None = None
        self._group: TaskGroup | None = None
        self._printed = 0
        self._worker: Worker | None = None
        self._number = 0
        self._next_state = state
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waits_since: float | None = None
        self._parked: bytes | None = None
        self._parking: Once | None = None

    async def __call__(self, code: str) -> bytes:
        """The result as JSON text; raises BrokerError.

        When this returns or raises, also by cancellation, the worker has been given back and no
        call is left.
        """
        return await self._whole(code, patient=False)

    async def resume(self, checkpoint: Checkpoint) -> bytes:
        """The same for a run that another process has brought up to ``checkpoint``."""
        self._parked = checkpoint.state
        self._seconds = checkpoint.seconds
        self._printed = checkpoint.printed
        self._calls.made = checkpoint.made
        for number, name, arguments in checkpoint.awaited:
            self._calls.add(number, name, arguments)
        return await self._whole(None, patient=True)

    async def _whole(self, code: str | None, *, patient: bool) -> bytes:
        result = b""
        with self._scope:
            try:
                async with AsyncExitStack() as stack:
                    try:
                        self._worker = await self._workers.take(patient=patient)
                        result = await self._to_the_end(self._worker, code, stack)
                    except WorkerDiedError:
                        self._stop(RunError("the sandbox's worker died; what ran before is kept"))
                    except Exception as error:
                        self._stop(error)
                    finally:
                        if self._group is not None:
                            self._group.cancel_scope.cancel()
            finally:
                await self._leave()
        if self._failure is not None:
            raise self._failure
        return result

    def _stop(self, error: Exception) -> None:
        """End the run with ``error``; the first one counts."""
        if self._failure is None:
            self._failure = error
        self._scope.cancel()

    async def _to_the_end(self, worker: Worker, code: str | None, stack: AsyncExitStack) -> bytes:
        if code is None:
            self._go_on(worker)
            worker = await self._answered(worker, stack)
        else:
            self._begin(worker, self.state, code)
        while True:
            kind, payload = await worker.receive()
            if kind == frames.SAID:
                await self._said(worker, payload)
            elif kind == frames.WAITS:
                if self._host.durable and self._calls.to_begin:
                    await self._checkpoint(worker)
                worker = await self._answered(worker, stack)
            elif kind == frames.STATE:
                self._next_state = payload[frames.SECONDS.size :]
            else:
                self._workers.give_back(worker)
                self._worker = None
                self.state = self._next_state
                if payload[:1] == frames.RESULT:
                    return payload[1:]
                limits = self._host.limits
                raise explain(payload[:1], payload[1:], limits, self._config.max_calls)

    async def _answered(self, worker: Worker, stack: AsyncExitStack) -> Worker:
        worker = await self._wait(worker, stack)
        worker.send(frames.ANSWERS, self._calls.answers())
        return worker

    async def _checkpoint(self, worker: Worker) -> None:
        worker.send(frames.SAVE)
        _, payload = await worker.receive()
        (used,) = frames.SECONDS.unpack_from(payload)
        pending = self._calls.pending.values()
        saved = Checkpoint(
            self._workers.build,
            payload[frames.SECONDS.size :],
            self.state,
            [(call.number, call.name, call.arguments) for call in pending],
            self._calls.made,
            self._printed,
            max(0.0, self._seconds - used),
        )
        await self._host.checkpoint(saved.to_bytes(), [str(call.number) for call in pending])

    def _go_on(self, worker: Worker) -> None:
        """With the state of a run that waits."""
        state, self._parked = self._parked, None
        if state is None:
            raise WorkerDiedError
        self._begin(worker, state, None)

    def _begin(self, worker: Worker, state: bytes, code: str | None) -> None:
        self._number = self._workers.number()
        limits = self._host.limits
        header: dict[str, object] = {
            "number": self._number,
            "seconds": self._seconds,
            "memory": limits.max_memory_bytes,
            "result": limits.max_result_bytes,
            "output": limits.max_output_bytes,
            "calls": self._config.max_calls,
            "called": self._calls.made,
            "printed": self._printed,
            "pending": len(self._calls.pending),
            "last": self._last,
        }
        if code is not None:
            # Python can have half a character in a text, which nothing can be made of.
            header["code"] = code.encode("utf-8", "replace").decode()
        worker.send(frames.RUN, frames.pack(to_json(header), state))

    async def _said(self, worker: Worker, message: bytes) -> None:
        kind, text = message[:1], message[1:]
        if kind == b"c":
            self._calls.said(text)
            return
        self._printed += len(text)
        if kind == b"l":
            await self._host.log_line(LEVELS[text[:1]], text[1:].decode())
            return
        # Lines that are there together are one event; but a durable run prints the same again.
        while not self._host.durable and (more := worker.receive_nowait(frames.SAID)) is not None:
            if more[:1] != b"p":
                await self._host.stdout(text.decode())
                await self._said(worker, more)
                return
            text += more[1:]
            self._printed += len(more) - 1
        await self._host.stdout(text.decode())

    async def _wait(self, worker: Worker, stack: AsyncExitStack) -> Worker:
        """Return when a call has an outcome, with a worker that has the run."""
        begun, self._calls.to_begin = self._calls.to_begin, []
        alone = len(begun) == len(self._calls.pending) == 1
        if not alone and self._group is None:
            self._group = await stack.enter_async_context(anyio.create_task_group())
        self._waits_since = self._loop.time()
        if self._timer is None and self._config.park_after is not None:
            self._timer = self._loop.call_later(self._config.park_after, self._park)
        if alone:
            await self._calls.perform(begun[0])
        else:
            for call in begun:
                cast(TaskGroup, self._group).start_soon(self._calls.perform, call)
            await self._calls.one_settled()
        self._waits_since = None
        if self._parking is None:
            return worker
        await self._parking.wait()
        self._parking = None
        # The run has begun and others may depend on it: it waits as long as it must.
        worker = self._worker = await self._workers.take(patient=True)
        self._go_on(worker)
        return worker

    def _park(self) -> None:
        """Save the run if it has waited long enough, else look again when it will have.

        One timer goes through all waits of a run: to set one for each would cost a tenth of a
        call.
        """
        self._timer = None
        if self._waits_since is None or self._worker is None or self._config.park_after is None:
            return
        left = self._waits_since + self._config.park_after - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._park)
        else:
            self._parking = Once()
            self._worker.park(self._has_parked)

    def _has_parked(self, payload: bytes | None) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            self._workers.give_back(worker)
        if payload is not None:
            (used,) = frames.SECONDS.unpack_from(payload)
            self._seconds = max(0.0, self._seconds - used)
            self._parked = payload[frames.SECONDS.size :]
        if self._parking is not None:
            self._parking.set()

    async def _leave(self) -> None:
        """Make the worker end what is left of the run, and give it back."""
        if self._timer is not None:
            self._timer.cancel()
        worker = self._worker
        if worker is None:
            return
        with anyio.CancelScope(shield=True):
            if self._parking is not None:
                await self._parking.wait()
                return
            worker.interrupt(self._number)
            worker.send(frames.STOP)
            try:
                with anyio.move_on_after(GRACE) as waiting:
                    while (await worker.receive())[0] != frames.END:
                        pass
                if waiting.cancelled_caught:
                    worker.kill()
                    while not worker.lost:
                        await worker.receive()
            except WorkerDiedError:
                pass
            self._worker = None
            self._workers.give_back(worker)
