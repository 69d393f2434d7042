"""Where what happens now belongs: a value in OpenTelemetry's context, and in log records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from opentelemetry import context, trace

KEY = "enclave-broker-where"

Factory = Callable[..., logging.LogRecord]


class Where(NamedTuple):
    """The session of a call or a run, the call, and whose it is."""

    session: str
    call: str | None
    principal: str | None


def where() -> Where | None:
    found = context.get_value(KEY)
    return found if type(found) is Where else None


def placed() -> dict[str, str]:
    """The session, call, trace and principal of what happens now, as far as there are any."""
    current = where()
    found: dict[str, str] = {}
    if current is not None:
        found["session"] = current.session
        if current.call is not None:
            found["call"] = current.call
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        found["trace"] = trace.format_trace_id(span.trace_id)
    if current is not None and current.principal is not None:
        found["principal"] = current.principal
    return found


class _Placing:
    """A factory of log records that puts into ``placed`` where each was made."""

    def __init__(self, under: Factory) -> None:
        self.under = under
        self.base: Factory = under.base if isinstance(under, _Placing) else under
        self.closed = False

    def __call__(self, *given: Any, **more: Any) -> logging.LogRecord:
        record = self.base(*given, **more)
        found = placed()
        if found:
            record.placed = found
        return record

    def open_under(self) -> Factory:
        """What is below it and still wanted."""
        under = self.under
        return under.open_under() if isinstance(under, _Placing) and under.closed else under


@contextmanager
def log_records_are_placed() -> Iterator[None]:
    """In this block; of several that overlap, in any order, it lasts as long as the last one."""
    mine = _Placing(logging.getLogRecordFactory())
    logging.setLogRecordFactory(mine)
    try:
        yield
    finally:
        mine.closed = True
        top = logging.getLogRecordFactory()
        if isinstance(top, _Placing):
            top.under = top.open_under()
            logging.setLogRecordFactory(top.under if top.closed else top)
