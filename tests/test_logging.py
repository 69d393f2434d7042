"""The logging middleware, structured lines, and what a failure leaves in the log."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import anyio
import pytest

from enclave_broker_core import (
    Broker,
    BrokerError,
    JsonFormatter,
    LoggingMiddleware,
    OpenContext,
    ToolCall,
)
from enclave_broker_core.contracts import CallNext
from enclave_broker_core.logs import CALLS, LOGGING, LoggingConfig, TextFormatter, open_logging

pytestmark = pytest.mark.anyio


def logged(*inner: Any, level: int = logging.INFO) -> Broker:
    broker = Broker(middleware=[LoggingMiddleware(level), *inner])
    broker.tool("t")(lambda: "t")
    broker.tool("wait")(anyio.sleep_forever)

    @broker.tool("fails")
    async def fails(a: str) -> None:
        raise ValueError(f"it failed with {a}")

    return broker


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage().rsplit(" in ", 1)[0])
        for record in caplog.records
        if record.name == CALLS
    ]


async def test_each_call_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, CALLS)
    async with logged() as broker, broker.session() as session:
        await session.call("t")
        with pytest.raises(BrokerError):
            await session.call("fails", {"a": "hidden"})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.call, "wait")
            while not session.busy:
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        calls = [call.call_id for call in await session.history()]
    assert told(caplog)[:2] == [("INFO", "t ok"), ("WARNING", "fails TOOL_ERROR")]
    lines = [record for record in caplog.records if record.name == CALLS]
    assert all(record.getMessage().endswith(" ms") for record in lines)
    assert "hidden" not in str([record.getMessage() for record in lines])
    first = vars(lines[0])
    assert (first["tool"], first["session"], first["call"]) == ("t", session.id, calls[0])


async def test_a_cancelled_call_is_a_line_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, CALLS)
    began = anyio.Event()

    async def wait() -> None:
        began.set()
        await anyio.sleep_forever()

    broker = logged()
    broker.tool("long")(wait)
    async with broker, broker.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.call, "long")
        await began.wait()
        tasks.cancel_scope.cancel()
    assert told(caplog) == [("INFO", "long CANCELLED")]


async def test_what_another_middleware_raises_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async def bad(call: ToolCall, call_next: CallNext) -> Any:
        raise KeyError("x")

    caplog.set_level(logging.INFO, CALLS)
    async with logged(bad) as broker, broker.session() as session:
        with pytest.raises(BrokerError):
            await session.call("t")
    assert told(caplog) == [("WARNING", "t KeyError")]


@pytest.mark.parametrize("level", ["debug", "info"])
async def test_its_level_is_configured(level: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert LOGGING.name == "logging"
    caplog.set_level(logging.DEBUG, CALLS)
    async with open_logging(LoggingConfig(level=level), OpenContext("x")) as middleware:
        broker = Broker(middleware=[middleware])
        broker.tool("t")(lambda: "t")
        async with broker, broker.session() as session:
            await session.call("t")
    assert told(caplog) == [(level.upper(), "t ok")]


async def test_the_traceback_is_in_the_log_and_nowhere_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with logged() as broker, broker.session() as session:
        with pytest.raises(BrokerError, match=r"^it failed with x$") as caught:
            await session.call("fails", {"a": "x"})
        await session.complete()
        events = [event.to_json() async for event in session.events()]
        history = str(await session.history())
    assert "Traceback" in caplog.text
    assert "in fails" in caplog.text
    for text in (str(caught.value.to_wire()), str(events), history):
        assert "Traceback" not in text
        assert "test_logging" not in text


def test_structured_lines() -> None:
    def line(**extra: Any) -> dict[str, Any]:
        record = logging.getLogger("x.y").makeRecord(
            "x.y", logging.WARNING, "f", 1, "it is %s", ("so",), None, extra=extra or None
        )
        record.created = 1769860800.25
        made = JsonFormatter().format(record)
        assert "\n" not in made
        loaded: dict[str, Any] = json.loads(made)
        return loaded

    plain = {
        "at": "2026-01-31T12:00:00.250Z",
        "level": "warning",
        "logger": "x.y",
        "message": "it is so",
    }
    assert line() == plain
    assert line(tool="t", n=1, odd=logging) == plain | {"tool": "t", "n": 1, "odd": str(logging)}


def test_structured_lines_have_the_traceback() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "it failed", (), sys.exc_info()
        )
    loaded = json.loads(JsonFormatter().format(record))
    assert loaded["message"] == "it failed"
    assert loaded["traceback"].endswith("ValueError: why")


def test_structured_lines_hold_any_text() -> None:
    record = logging.getLogger("x").makeRecord("x", logging.INFO, "f", 1, "a \ud800 b", (), None)
    assert json.loads(JsonFormatter().format(record))["message"] == "a ? b"


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ({}, "WARNING x: it is late"),
        (
            {"principal": "ann", "call": "c_1", "session": "s_1", "trace": "ab12", "tool": "t"},
            "WARNING x: it is late [session=s_1 call=c_1 trace=ab12 principal=ann]",
        ),
        ({"session": "-", "principal": "late"}, "WARNING x: it is late [session=-]"),
        ({"call": "c\nERROR x"}, "WARNING x: it is late [call='c\\nERROR x']"),
        ({"placed": {"session": "s_1"}}, "WARNING x: it is late [session=s_1]"),
        (
            {"placed": {"session": "s_1", "trace": "ab12"}, "session": "s_2"},
            "WARNING x: it is late [session=s_2 trace=ab12]",
        ),
    ],
)
def test_a_readable_line_says_where_it_belongs(extra: dict[str, str], line: str) -> None:
    record = logging.makeLogRecord(
        {"name": "x", "levelname": "WARNING", "msg": "it is %s", "args": ("late",), **extra}
    )
    assert TextFormatter().format(record) == line
