"""The sink by itself: the suite of its contract, then what is its own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from enclave_broker_core.contracts import EventSink, OpenContext
from enclave_broker_core.observations import CallFinished, SessionFinished, SessionStarted
from enclave_broker_core.testing.samples import call, record
from enclave_broker_core.testing.sinks import EventSinkSuite
from pydantic import ValidationError

from enclave_broker_example_sink.config import SinkConfig
from enclave_broker_example_sink.sink import open_sink

LOGGER = "enclave_broker_example_sink"


class TestLogSink(EventSinkSuite):
    @pytest.fixture(autouse=True)
    def all_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, LOGGER)
        self.caplog = caplog

    @asynccontextmanager
    async def open_sink(self) -> AsyncIterator[EventSink]:
        async with open_sink(SinkConfig(), OpenContext("sinks[0]")) as sink:
            yield sink

    async def noted(self, sink: EventSink) -> Sequence[str]:
        return "\n".join(self.caplog.messages).splitlines()


@pytest.mark.anyio
async def test_what_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    refused = call("c_1", tool="a\nb", outcome="refused", error_code="ACCESS_DENIED", ended_at=2.0)
    refused = refused._replace(started_at=0.5)
    async with open_sink(SinkConfig(level="warning"), OpenContext("sinks[0]")) as sink:
        await sink.observe(SessionStarted(record("s_1")))
        await sink.observe(CallFinished("s_1", None, refused, None, ""))
        await sink.observe(SessionFinished(record("s_1", tool_calls=1), None))
    assert caplog.messages == [
        "session 's_1' began",
        r"call 'c_1' of 'a\nb': 'ACCESS_DENIED' after 1.500 s",
        "session 's_1' running after 1 calls",
    ]
    assert {entry.levelname for entry in caplog.records} == {"WARNING"}


def test_a_wrong_configuration_is_refused() -> None:
    with pytest.raises(ValidationError):
        SinkConfig.model_validate({"level": "loud"})
