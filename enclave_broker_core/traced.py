"""Tells a tracer what happens. A broker without one has nothing of this in its chain."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, ParamSpec, Protocol, TypeVar

import anyio

from .calls import CallRecord, RunOutcome, ToolCall
from .contracts import CallNext
from .errors import BrokerError, outcome_of
from .events import Draft
from .frame import Append, CallFrame
from .models import Admission, SessionRecord
from .stats import BrokerStats
from .tracing import CallEnd, Headers, RequestTrace, RunTrace, Tracer

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

Told = tuple[RunOutcome, bytes]
"""How a run ended, and its result as JSON text."""

Running = Coroutine[Any, Any, Told]


class FollowedHost(Protocol):
    trace: RunTrace | None


class Traced:
    """A tracer whose own failures are for the log: what it follows does not notice them."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @property
    def tracer(self) -> Tracer:
        return self._tracer

    def attach(self, stats: Callable[[], BrokerStats]) -> None:
        _safely(self._tracer.attach, stats)

    def session_began(self, record: SessionRecord) -> None:
        _safely(self._tracer.session_began, record)

    def session_ended(self, record: SessionRecord, code: str | None) -> None:
        _safely(self._tracer.session_ended, record, code)

    async def run(self, session_id: str, run_id: str, host: FollowedHost, running: Running) -> Told:
        """Await what runs code; the calls that it makes by ``host`` belong to the run."""
        trace = host.trace = _safely(self._tracer.run, session_id, run_id)
        outcome: RunOutcome | None = None
        try:
            told = await running
            outcome = told[0]
            return told
        finally:
            host.trace = None
            if trace is not None:
                _safely(trace.end, outcome)

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> RequestTrace | None:
        return _safely(self._tracer.request, method, path, headers)

    def answered(self, trace: RequestTrace, route: str | None, status: int) -> None:
        _safely(trace.end, route, status)

    def headers(self) -> Headers:
        return _safely(self._tracer.headers) or ()

    def stage(self, call_next: CallNext) -> CallNext:
        """The outermost stage: what it tells is what the caller gets."""
        begin = self._tracer.call

        async def run(call: ToolCall) -> Any:
            frame: CallFrame = call.frame
            tool = frame.catalog.tools.get(call.name)
            spec = None if tool is None else tool.spec
            ended = _safely(begin, call, spec, frame.session.redactor)
            if ended is None:
                return await call_next(call)
            try:
                result = await call_next(call)
            except BrokerError as error:
                outcome, code = outcome_of(error), error.code
                _safely(ended, CallEnd(outcome, code, None, error, frame.decision))
                raise
            except anyio.get_cancelled_exc_class():
                _safely(ended, CallEnd("cancelled", "CANCELLED", None, None, frame.decision))
                raise
            _safely(ended, CallEnd("ok", None, result, None, frame.decision))
            return result

        return run

    def appending(self, append: Append) -> Append:
        """A store's ``append``, timed."""
        stored = self._tracer.stored

        async def timed(session_id: str, event: Draft, call: CallRecord | None = None) -> int:
            started = time.perf_counter()
            try:
                return await append(session_id, event, call)
            finally:
                _safely(stored, "append", time.perf_counter() - started)

        return timed

    def admitting(
        self, admit: Callable[..., Awaitable[Admission]]
    ) -> Callable[..., Awaitable[Admission]]:
        """A store's ``admit``, timed."""
        stored = self._tracer.stored

        async def timed(*asked: Any) -> Admission:
            started = time.perf_counter()
            try:
                return await admit(*asked)
            finally:
                _safely(stored, "admit", time.perf_counter() - started)

        return timed


def _safely(tell: Callable[P, T], *given: P.args, **more: P.kwargs) -> T | None:
    try:
        return tell(*given, **more)
    except Exception:
        _log.exception("the tracer failed")
        return None
