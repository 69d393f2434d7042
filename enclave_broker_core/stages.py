"""The stages below access: limits, arguments, and the handler with secrets and deadline."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any

import anyio

from .access_stage import failed, no_decision, refusal
from .calls import ToolCall
from .contracts import AccessPolicy, AccessRequest, CallNext, Limiter, Tool
from .errors import (
    ArgumentsError,
    BrokerError,
    DeadlineExceededError,
    PluginError,
    RateLimitedError,
    ToolTimeoutError,
)
from .failures import Failures
from .frame import CallFrame, CallSession
from .guard import Guard, Guarded, LateError, LetGoError, StoppedError
from .json_form import NotJsonError
from .limits import KnownWindows, RateLimiter
from .models import Admission, Decision, ToolSpec, Verdict, Window
from .secrets import Secrets

_log = logging.getLogger(__name__)

MOST_REMEMBERED = 1024


class Limits:
    """Counts the call in every window that applies, or in none."""

    def __init__(self, rates: RateLimiter, limiter: Limiter) -> None:
        self.rates = rates
        self._limiter = limiter

    def stage(self, call_next: CallNext) -> CallNext:
        acquire, rates, windows_of = self._limiter.acquire, self.rates, self._windows

        async def counted(call: ToolCall, windows: Sequence[Window]) -> Any:
            try:
                admission = await acquire(windows)
            except Exception as problem:
                admission = self._failed(problem)
            if type(admission) is not Admission:
                raise PluginError(f"the limiter answered {admission!r}, which is not an Admission")
            if admission.refused_by is not None:
                raise rate_limited(call.name, admission.refused_by, admission.retry_after)
            return await call_next(call)

        def run(call: ToolCall) -> Coroutine[Any, Any, Any]:
            known = call.frame.session.windows.get(call.name)
            if (
                known is not None
                and known.rates is rates
                and known.spec is call.grant[0].spec
                and known.principal is call.principal
            ):
                windows = known.windows
            else:
                windows = windows_of(call)
            return counted(call, windows) if windows else call_next(call)

        return run

    def _windows(self, call: ToolCall) -> tuple[Window, ...]:
        """The call's windows; remembered in its session, since most calls are alike."""
        session: CallSession = call.frame.session
        spec: ToolSpec = call.grant[0].spec
        windows = self.rates.windows(session.id, call.name, call.principal, spec)
        if len(session.windows) >= MOST_REMEMBERED:
            session.windows.clear()
        session.windows[call.name] = KnownWindows(self.rates, spec, call.principal, windows)
        return windows

    def _failed(self, problem: Exception) -> Admission:
        if self.rates.on_error == "allow":
            _log.warning("the limiter failed, so this call is not counted: %s", problem)
            return Admission()
        _log.error("the limiter failed, so this call is refused: %s", problem)
        raise PluginError(f"the call can't be counted: the limiter failed: {problem}") from problem


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
            tool = call.grant[0]
            try:
                arguments = tool.validate(call.arguments_json)
            except BrokerError:
                raise
            except NotJsonError as problem:
                raise ArgumentsError(f"the arguments of {call.name}: {problem}") from None
            except Exception as problem:
                raise self._failures.of(call.name, problem) from problem
            if self._policies:
                return judged(call, tool, arguments)
            return invoke(call, tool, arguments)

        async def judged(call: ToolCall, tool: Tool, arguments: Any) -> Any:
            await self._judge(call, tool, arguments)
            return await invoke(call, tool, arguments)

        return run

    async def _judge(self, call: ToolCall, tool: Tool, arguments: Any) -> None:
        frame: CallFrame = call.frame
        session = frame.session
        request = AccessRequest(
            call.name, call.principal, session.id, session.metadata, tool.dump(arguments)
        )
        for policy in self._policies:
            try:
                decision = await policy.decide(request)
            except Exception as problem:
                decision = failed(policy, problem)
            if type(decision) is not Decision:
                decision = no_decision(policy, decision)
            if decision.verdict is not Verdict.ALLOW:
                frame.decision = decision
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

    async def __call__(self, call: ToolCall, tool: Tool, arguments: Any) -> Any:
        frame: CallFrame = call.frame
        spec = tool.spec
        if call.name != frame.tool:
            frame = frame.renamed(call.name)
        if spec.secrets:
            frame.secrets = await self._secrets.all(spec.secrets)
        budget = frame.session.limits.call_timeout
        seconds = spec.timeout
        late: type[ToolTimeoutError] | type[DeadlineExceededError] = ToolTimeoutError
        if budget is not None and (seconds is None or budget < seconds):
            seconds, late = budget, DeadlineExceededError
        try:
            if seconds is None:
                return await tool.invoke(arguments, frame)
            frame.deadline = time.monotonic() + seconds
            running = as_coroutine(tool.invoke(arguments, frame))
            return await self._guards(running, self._guarded, seconds)
        except (BrokerError, StoppedError):
            raise
        except LateError:
            raise late(f"{call.name} did not answer within {seconds:g} s") from None
        except LetGoError:
            _log.error("%s did not stop when its time was over, and was let go", call.name)
            raise late(
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
