"""Passes observations to those who watch: the audit log at once, the others in their own time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from .contracts import EventSink
from .errors import PluginError
from .observations import Observation

_log = logging.getLogger(__name__)

BACKLOG = 10_000


class Sinks:
    """Tells every sink of every observation.

    ``audits`` are told before the caller has its answer, and an audit that can't be
    written is that call's error. The others have a queue and a task each; when a sink is
    ``BACKLOG`` observations behind, the newest are dropped and counted in ``dropped``.
    """

    def __init__(self, audits: Sequence[EventSink], count: int) -> None:
        self._audits = tuple(audits)
        self._queues: list[MemoryObjectSendStream[Observation]] = []
        self.active = bool(audits) or count > 0
        self.dropped = 0

    @property
    def backlog(self) -> int:
        """The observations that wait for the sinks, all of them together."""
        return sum(queue.statistics().current_buffer_used for queue in self._queues)

    async def observe(self, observation: Observation) -> None:
        for audit in self._audits:
            try:
                await audit.observe(observation)
            except Exception as problem:
                _log.exception("the audit log can't be written")
                raise PluginError(f"the audit log can't be written: {problem}") from problem
        for queue in self._queues:
            try:
                queue.send_nowait(observation)
            except anyio.WouldBlock:
                self.dropped += 1
                if self.dropped == 1 or self.dropped % 1000 == 0:
                    _log.error("a sink is too slow: %d observations dropped so far", self.dropped)

    async def feed(self, sink: EventSink, queue: MemoryObjectReceiveStream[Observation]) -> None:
        """Hand one sink its observations until there will be no more."""
        async with queue:
            async for observation in queue:
                try:
                    await sink.observe(observation)
                except Exception:
                    _log.exception("the event sink %s failed", type(sink).__name__)


@asynccontextmanager
async def open_sinks(
    audits: Sequence[EventSink], sinks: Sequence[EventSink]
) -> AsyncIterator[Sinks]:
    """The sinks at work; on the way out each finishes what it was given."""
    working = Sinks(audits, len(sinks))
    async with anyio.create_task_group() as tasks:
        for sink in sinks:
            send, receive = anyio.create_memory_object_stream[Observation](BACKLOG)
            working._queues.append(send)
            tasks.start_soon(working.feed, sink, receive)
        try:
            yield working
        finally:
            for queue in working._queues:
                queue.close()
