"""The stages below access: limits, arguments, and the handler with secrets and deadline."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import anyio

from .access_stage import ask, refusal
from .calls import ToolCall
from .contracts import AccessPolicy, AccessRequest, CallNext, Limiter, Tool
from .errors import (
    ArgumentsError,
    BrokerError,
    LimiterError,
    PluginError,
    RateLimitedError,
    ToolError,
)
from .failures import Failures, result_form
from .frame import CallFrame
from .guard import Guard, Guarded, LateError, LetGoError, StoppedError
from .json_form import NotJsonError
from .lanes import Lane
from .limits import RateLimiter
from .models import Admission, Verdict, Window
from .secrets import Secrets
from .windows import ADMITTED

Admit = Callable[[str, Any, Sequence[Window]], Awaitable[Admission]]
"""``AdmittingStore.admit``."""

_log = logging.getLogger(__name__)


class Limits:
    """Counts the call in every window that applies, or in none."""

    def __init__(self, rates: RateLimiter, limiter: Limiter, admit: Admit | None = None) -> None:
        """``admit`` is the store's, when it counts the call and writes its event in one step."""
        self.rates = rates
        self.limiter = limiter
        self._admit = admit

    def stage(self, call_next: CallNext) -> CallNext:
        acquire, rates, admits = self.limiter.acquire, self.rates, self._admit is not None

        async def run(call: ToolCall) -> Any:
            lane: Lane = call.grant[0]
            if lane.rates is not rates:
                lane.windows = rates.windows(
                    call.frame.session.id, call.name, call.principal, lane.tool.spec
                )
                lane.rates = rates
            if admits and call.frame.pending is not None:
                await self._begin(call, lane.windows)
            elif lane.windows:
                try:
                    admission = await acquire(lane.windows)
                except Exception as problem:
                    admission = self._failed(problem)
                if admission is not ADMITTED:
                    require_admitted(call.name, admission)
            return await call_next(call)

        return run

    async def _begin(self, call: ToolCall, windows: Sequence[Window]) -> None:
        """Count the call in the step that writes its first event."""
        frame: CallFrame = call.frame
        if not windows or self._admit is None:
            await frame.begin()
            return
        event, frame.pending = frame.pending, None
        try:
            admission = await self._admit(frame.session.id, event, windows)
        except LimiterError as problem:
            admission = self._failed(problem)
        except Exception:
            frame.pending = event
            raise
        require_admitted(call.name, admission)

    def _failed(self, problem: Exception) -> Admission:
        if self.rates.on_error == "allow":
            _log.warning("the limiter failed, so this call is not counted: %s", problem)
            return Admission()
        _log.error("the limiter failed, so this call is refused: %s", problem)
        raise PluginError(f"the call can't be counted: the limiter failed: {problem}") from problem


def require_admitted(name: str, admission: object) -> None:
    """RateLimitedError for a refusal; PluginError for what is no Admission."""
    if type(admission) is not Admission:
        raise PluginError(f"the limiter answered {admission!r}, which is not an Admission")
    if admission.refused_by is not None:
        raise rate_limited(name, admission.refused_by, admission.retry_after)


def rate_limited(name: str, window: Window, retry_after: float) -> RateLimitedError:
    return RateLimitedError(
        f"{name}: the limit of {window.max_calls} calls in {window.seconds:g} s"
        f" ({window.scope}) is reached; try again in {retry_after:.3g} s",
        scope=window.scope,
        limit=window.max_calls,
        retry_after=retry_after,
    )


class Arguments:
    """Checks the arguments against the tool's schema, then asks those who judge arguments."""

    def __init__(self, policies: Sequence[AccessPolicy], failures: Failures) -> None:
        self._policies = tuple(policies)
        self._failures = failures

    def stage(self, invoke: Invoke) -> CallNext:
        def run(call: ToolCall) -> Coroutine[Any, Any, Any]:
            lane: Lane = call.grant[0]
            try:
                arguments = lane.tool.validate(call.arguments_json)
            except BrokerError:
                raise
            except NotJsonError as problem:
                raise ArgumentsError(f"the arguments of {call.name}: {problem}") from None
            except Exception as problem:
                raise self._failures.of(call.name, problem) from problem
            if self._policies:
                return judged(call, lane, arguments)
            return invoke(call, lane, arguments)

        async def judged(call: ToolCall, lane: Lane, arguments: Any) -> Any:
            await self._judge(call, lane.tool, arguments)
            return await invoke(call, lane, arguments)

        return run

    async def _judge(self, call: ToolCall, tool: Tool, arguments: Any) -> None:
        frame: CallFrame = call.frame
        session = frame.session
        request = AccessRequest(
            call.name, call.principal, session.id, session.metadata, tool.dump(arguments)
        )
        for policy in self._policies:
            decision = await ask(policy, request)
            frame.decision, frame.rule = decision, decision.rule
            if decision.verdict is not Verdict.ALLOW:
                raise refusal(call.name, decision)


class Invoke:
    """The innermost: resolves secrets, sets the deadline and runs the handler."""

    def __init__(
        self, secrets: Secrets, failures: Failures, guards: type[Guard], guarded: Guarded
    ) -> None:
        self._secrets = secrets
        self._failures = failures
        self._guards = guards
        self._guarded = guarded

    async def __call__(self, call: ToolCall, lane: Lane, arguments: Any) -> Any:
        frame: CallFrame = call.frame
        if call.name != frame.tool:
            if frame.kept is not None and frame.kept.repeats and not lane.tool.spec.idempotent:
                raise ToolError(f"it is not known whether {call.name} did this call before")
            frame = frame.renamed(call.name)
        if lane.secrets:
            frame.secrets = await self._secrets.all(lane.secrets, frame.session.caller_headers)
        seconds = lane.seconds
        try:
            if seconds is None:
                answer = await lane.tool.invoke(arguments, frame)
            else:
                frame.deadline = time.monotonic() + seconds
                running = as_coroutine(lane.tool.invoke(arguments, frame))
                answer = await self._guards(running, self._guarded, seconds)
            # Middleware sees it as the caller will, and can't change what the tool holds.
            return result_form(call.name, answer, frame.session.limits.max_result_bytes)
        except (BrokerError, StoppedError):
            raise
        except LateError:
            raise lane.late(f"{call.name} did not answer within {seconds:g} s") from None
        except LetGoError:
            _log.error("%s did not stop when its time was over, and was let go", call.name)
            raise lane.late(
                f"{call.name} did not answer within {seconds:g} s, and did not stop then"
            ) from None
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as problem:
            raise self._failures.of(call.name, problem) from problem


def as_coroutine(awaitable: Awaitable[Any]) -> Coroutine[Any, Any, Any]:
    """The awaitable itself when it is a coroutine, else one that awaits it."""
    if inspect.iscoroutine(awaitable):
        return awaitable
    return _await(awaitable)


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
