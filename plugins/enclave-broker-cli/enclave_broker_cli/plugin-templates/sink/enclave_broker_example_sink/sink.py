"""A sink that logs what happens: a line for each call and for each session's start and end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from enclave_broker_core.contracts import EventSink, OpenContext
from enclave_broker_core.observations import CallFinished, Observation, SessionStarted

from .config import SinkConfig

_log = logging.getLogger(__name__)


class LogSink:
    """An EventSink. It sees refused calls too, and no arguments: those are nobody's business."""

    def __init__(self, config: SinkConfig) -> None:
        self._level = logging.getLevelNamesMapping()[config.level.upper()]

    async def observe(self, observation: Observation) -> None:
        # Names may hold anything, line feeds too: by their repr each makes one line.
        if isinstance(observation, CallFinished):
            call = observation.call
            took = call.ended_at - call.started_at
            how = call.outcome if call.error_code is None else call.error_code
            self._note(f"call {call.call_id!r} of {call.tool!r}: {how!r} after {took:.3f} s")
        elif isinstance(observation, SessionStarted):
            self._note(f"session {observation.record.id!r} began")
        else:
            record = observation.record
            self._note(
                f"session {record.id!r} {record.state.value} after {record.tool_calls} calls"
            )

    def _note(self, line: str) -> None:
        _log.log(self._level, "%s", line)


@asynccontextmanager
async def open_sink(config: SinkConfig, context: OpenContext) -> AsyncIterator[EventSink]:
    yield LogSink(config)
