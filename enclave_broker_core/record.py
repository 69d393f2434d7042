"""The outermost stage: every call is recorded, and its result capped and redacted."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from . import events
from .calls import CallRecord, Outcome, ToolCall, call_record
from .contracts import CallNext
from .errors import BrokerError, outcome_of
from .failures import Failures, blot, result_form
from .frame import CallFrame, CallSession
from .guard import Guard, Guarded, LetGoError, StoppedError
from .observations import CallFinished, Observation

_log = logging.getLogger(__name__)

Observe = Callable[[Observation], Awaitable[None]]


class Record:
    """Writes the call's two events, its place in the history and its observation."""

    def __init__(
        self,
        failures: Failures,
        guards: type[Guard],
        guarded: Guarded,
        observe: Observe | None,
        *,
        defers: bool = False,
    ) -> None:
        """``defers`` when a stage below writes the first event together with what it does."""
        self._failures = failures
        self._guards = guards
        self._guarded = guarded
        self._observe = observe
        self._defers = defers
        self.calls = 0
        self.failed = 0

    def go_on_from(self, before: Record) -> None:
        """Count on where the record of the parts before it is."""
        self.calls += before.calls
        self.failed += before.failed

    def stage(self, call_next: CallNext) -> CallNext:
        guards, guarded = self._guards, self._guarded
        defers = self._defers

        async def run(call: ToolCall) -> Any:
            frame: CallFrame = call.frame
            session = frame.session
            append, redactor = session.append, session.redactor
            session.begin_call(frame)
            self.calls += 1
            started_at = time.time()
            arguments_json = call.arguments_json
            if redactor.active:
                arguments_json = redactor.json(arguments_json)
            failure: BrokerError | None = None
            cancelled: BaseException | None = None
            result: Any = None
            known = call.name in frame.catalog.tools
            name = call.name if known else redactor.text(call.name)
            try:
                try:
                    event = events.tool_call(frame.call_id, name, arguments_json, known=known)
                    if frame.kept is not None and frame.kept.repeats:
                        pass  # it is in the log
                    elif defers:
                        frame.pending = event
                    else:
                        await append(session.id, event)
                    if frame.refusal is not None:
                        raise frame.refusal
                    guard = frame.guard = guards(call_next(call), guarded)
                    if frame.stopped:
                        guard.stop()
                    result = result_form(call.name, await guard, session.limits.max_result_bytes)
                except anyio.get_cancelled_exc_class() as error:
                    cancelled = error
                except BaseException as error:
                    failure = self._failure(call, error)
                seconds = time.monotonic() - frame.started
                if failure is None and cancelled is None:
                    draft = events.tool_succeeded(frame.call_id, seconds)
                    outcome: Outcome = "ok"
                    code: str | None = None
                else:
                    draft, outcome, code = self._failed(frame, seconds, failure)
                record = call_record(
                    (
                        frame.call_id,
                        name,
                        arguments_json,
                        outcome,
                        code,
                        started_at,
                        started_at + seconds,
                        frame.rule,
                    )
                )
                if frame.pending is not None:
                    await frame.begin()
                if frame.kept is None:
                    await append(session.id, draft, record)
                else:
                    told = redactor.value(result) if redactor.active else result
                    was_cancelled = cancelled is not None
                    await frame.kept.end(draft, record, told, failure, cancelled=was_cancelled)
                if self._observe is not None:
                    await self._observe(_finished(call, record, failure))
            finally:
                ending = session.finish_call(frame, failure)
                if ending is not None:
                    await ending
            if cancelled is not None:
                raise cancelled
            if failure is not None:
                raise failure
            return redactor.value(result) if redactor.active else result

        return run

    def _failure(self, call: ToolCall, error: BaseException) -> BrokerError:
        """What was raised, as the caller sees it; with no secret in it."""
        session: CallSession = call.frame.session
        failure: BrokerError
        if isinstance(error, BrokerError):
            failure = error
        elif isinstance(error, LetGoError):
            _log.error("%s did not stop when it was cancelled, and was let go", call.name)
            failure = session.over()
        elif isinstance(error, StoppedError):
            failure = session.over()
        else:
            failure = self._failures.of(call.name, error)
        redactor = session.redactor
        if redactor.active:
            blot(failure, redactor)
        return failure

    def _failed(
        self, frame: CallFrame, seconds: float, failure: BrokerError | None
    ) -> tuple[events.Draft, Outcome, str]:
        self.failed += 1
        code, message = "CANCELLED", "the caller cancelled it"
        outcome: Outcome = "cancelled"
        if failure is not None:
            code, message, outcome = failure.code, failure.message, outcome_of(failure)
        return events.tool_failed(frame.call_id, seconds, code, message), outcome, code


def _finished(call: ToolCall, record: CallRecord, failure: BrokerError | None) -> CallFinished:
    frame: CallFrame = call.frame
    return CallFinished(
        frame.session.id,
        call.principal,
        record,
        frame.decision,
        hashlib.sha256(call.arguments_json).hexdigest(),
        None if failure is None else failure.message,
    )
