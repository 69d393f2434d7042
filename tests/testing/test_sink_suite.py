"""The sink suite finds what is wrong with a sink, in the test for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from bad_sinks import KNOWN_BAD, Notes, NotesCalls

from enclave_broker_core.contracts import EventSink
from enclave_broker_core.observations import CallFinished
from enclave_broker_core.testing.sinks import EventSinkSuite

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:coroutine")]


class Suite(EventSinkSuite):
    def __init__(self, sink: type[Notes] = Notes) -> None:
        self._sink = sink

    @asynccontextmanager
    async def open_sink(self) -> AsyncIterator[EventSink]:
        self._lines: list[str] = []
        yield self._sink(self._lines)

    async def noted(self, sink: EventSink) -> Sequence[str]:
        return self._lines

    @asynccontextmanager
    async def open_broken_sink(self) -> AsyncIterator[EventSink]:
        yield self._sink(None)


class SuiteOfCallsAndEnds(Suite):
    kinds = (CallFinished,)


@pytest.mark.parametrize(("sink", "found_by"), KNOWN_BAD[EventSinkSuite].items())
async def test_the_suite_finds(
    sink: type[Notes], found_by: set[str], failures: Callable[[object], Awaitable[set[str]]]
) -> None:
    assert found_by <= await failures(Suite(sink))


async def test_the_suite_finds_nothing_else(
    failures: Callable[[object], Awaitable[set[str]]],
) -> None:
    assert await failures(Suite()) == set()
    assert await failures(SuiteOfCallsAndEnds(NotesCalls)) == set()
