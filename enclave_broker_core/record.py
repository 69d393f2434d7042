"""The outermost stage: every call is recorded, and its result capped and redacted."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from pydantic_core import from_json, to_json

from . import events
from .calls import CallRecord, Outcome, ToolCall
from .contracts import CallNext
from .errors import (
    AccessDeniedError,
    ApprovalRequiredError,
    ArgumentsError,
    BrokerError,
    MaxToolCallsError,
    RateLimitedError,
    ResultTooLargeError,
    SessionError,
    ToolError,
    UnknownToolError,
)
from .failures import Failures
from .frame import CallFrame
from .json_form import NotJsonError, TooLargeError, json_text
from .observations import CallFinished, Observation
from .redaction import Redactor

Observe = Callable[[Observation], Awaitable[None]]

_REFUSALS = (
    AccessDeniedError,
    ApprovalRequiredError,
    ArgumentsError,
    MaxToolCallsError,
    RateLimitedError,
    UnknownToolError,
)


class Record:
    """Writes the call's two events, its place in the history and its observation."""

    def __init__(self, redactor: Redactor, failures: Failures, observe: Observe | None) -> None:
        self._redactor = redactor
        self._failures = failures
        self._observe = observe
        self.calls = 0
        self.failed = 0

    def stage(self, call_next: CallNext) -> CallNext:
        redactor = self._redactor

        async def run(call: ToolCall) -> Any:
            frame: CallFrame = call.frame
            session = frame.session
            started_at, started = time.time(), time.perf_counter()
            arguments_json = redactor.json(call.arguments_json)
            session.begin_call(frame)
            self.calls += 1
            failure: BrokerError | None = None
            cancelled: BaseException | None = None
            text = b""
            try:
                name_json = redactor.json(to_json(call.name))
                await session.emit(events.tool_call(frame.call_id, name_json, arguments_json))
                with frame.scope:
                    if frame.refusal is not None:
                        raise frame.refusal
                    result = await call_next(call)
                    text = json_text(result, session.limits.max_result_bytes)
            except BrokerError as error:
                failure = error
            except TooLargeError as error:
                failure = ResultTooLargeError(f"the result of {call.name} is too large: {error}")
            except NotJsonError as error:
                failure = ToolError(f"the result of {call.name} can't be passed on: {error}")
            except anyio.get_cancelled_exc_class() as error:
                cancelled = error
            except BaseException as error:
                failure = self._failures.of(call.name, error)
            if frame.scope.cancel_called:
                failure = session.ending or failure
            try:
                failure = self._clean(failure)
                seconds = time.perf_counter() - started
                await self._write(
                    call, arguments_json, started_at, seconds, failure, cancelled is not None
                )
            finally:
                await session.finish_call(frame, failure)
            if cancelled is not None:
                raise cancelled
            if failure is not None:
                raise failure
            return from_json(redactor.json(text))

        return run

    def _clean(self, failure: BrokerError | None) -> BrokerError | None:
        """The same error, with no secret in its message."""
        if failure is not None and self._redactor.active:
            failure.message = self._redactor.text(failure.message)
            failure.args = (failure.message,)
        return failure

    async def _write(
        self,
        call: ToolCall,
        arguments_json: bytes,
        started_at: float,
        seconds: float,
        failure: BrokerError | None,
        cancelled: bool,
    ) -> None:
        frame: CallFrame = call.frame
        outcome: Outcome = "ok"
        code: str | None = None
        if failure is not None:
            self.failed += 1
            code = failure.code
            outcome = "refused" if isinstance(failure, _REFUSALS) else "error"
            if isinstance(failure, SessionError):
                outcome = "cancelled"
            draft = events.tool_failed(frame.call_id, seconds, code, failure.message)
        elif cancelled:
            outcome, code = "cancelled", "CANCELLED"
            draft = events.tool_failed(frame.call_id, seconds, code, "the caller cancelled it")
        else:
            draft = events.tool_succeeded(frame.call_id, seconds)
        rule = "" if frame.decision is None else frame.decision.rule
        record = CallRecord(
            frame.call_id,
            call.name,
            arguments_json,
            outcome,
            code,
            started_at,
            started_at + seconds,
            rule,
        )
        await frame.session.emit(draft, record)
        if self._observe is not None:
            await self._observe(
                CallFinished(
                    frame.session.id,
                    call.principal,
                    record,
                    frame.decision,
                    hashlib.sha256(call.arguments_json).hexdigest(),
                    None if failure is None else failure.message,
                )
            )
