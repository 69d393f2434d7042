"""Middleware with one fault each, which the suite must find."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import CallNext
from enclave_broker_core.errors import BrokerError, ToolError
from enclave_broker_core.testing.middleware import MiddlewareSuite


class Counts:
    """Counts the calls that go well."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        await checkpoint()
        result = await call_next(call)
        self.count += 1
        return result


class IsSilentlySync(Counts):
    def __call__(self, call: ToolCall, call_next: CallNext) -> Awaitable[Any]:  # type: ignore[override]
        return call_next(call)


class ForgetsToAwait(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        return call_next(call)


class AnswersByItself(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        return dict(call.args)


class PassesOnACopy(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        return await call_next(call.replace())


class AddsAnArgument(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        return await call_next(call.replace(args={**call.args, "seen": True}))


class GrantsByItself(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        call.grant.append("granted again")
        return await super().__call__(call, call_next)


class LosesWhatIsFalse(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        return await super().__call__(call, call_next) or None


class MarksTheResult(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        result = await super().__call__(call, call_next)
        if isinstance(result, dict):
            result["seen"] = True
        return result


class MarksTheSession(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        call.metadata["calls"] = self.count  # type: ignore[index]
        return await super().__call__(call, call_next)


class WrapsErrors(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        try:
            return await super().__call__(call, call_next)
        except Exception as problem:
            raise ToolError(f"failed: {problem}") from problem


class ReturnsErrors(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        try:
            return await super().__call__(call, call_next)
        except BrokerError as problem:
            return {"error": problem.message}


class AddsToErrors(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        try:
            return await super().__call__(call, call_next)
        except BrokerError as problem:
            problem.details += ({"type": "seen"},)
            raise


class TriesAgain(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        try:
            return await super().__call__(call, call_next)
        except BrokerError:
            return await super().__call__(call, call_next)


class CallsTwice(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        await call_next(call)
        return await super().__call__(call, call_next)


class SwallowsItsCancellation(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        try:
            return await super().__call__(call, call_next)
        except BaseException as problem:
            if isinstance(problem, Exception):
                raise
            return None


class TurnsCancellationIntoAnError(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        try:
            return await super().__call__(call, call_next)
        except anyio.get_cancelled_exc_class():
            raise ToolError("cancelled") from None


class MixesCalls(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        self._call = call
        await checkpoint()
        return await super().__call__(self._call, call_next)


class OneAtATime(Counts):
    def __init__(self) -> None:
        super().__init__()
        self._lock = anyio.Lock()

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        async with self._lock:
            return await super().__call__(call, call_next)


class Caches(Counts):
    """What was answered once, by a key that is the caller's own."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: dict[Any, Any] = {}

    def key(self, call: ToolCall) -> Any:
        caller = call.principal
        who = (caller and caller.id, caller and caller.tenant)
        return call.name, call.arguments_json, call.session_id, who

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        key = self.key(call)
        if key not in self._answers:
            self._answers[key] = await super().__call__(call, call_next)
        return self._answers[key]


class CachesForAll(Caches):
    def key(self, call: ToolCall) -> Any:
        return call.name, call.arguments_json


class CachesForAllTenants(Caches):
    def key(self, call: ToolCall) -> Any:
        return call.name, call.arguments_json, call.principal and call.principal.id


class CachesByName(Caches):
    def key(self, call: ToolCall) -> Any:
        return call.name, call.session_id


class IsBrokenByOneError(Counts):
    broken: Any = None

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        if self.broken is not None:
            raise self.broken
        try:
            return await super().__call__(call, call_next)
        except Exception as problem:
            self.broken = problem
            raise


class FormatsNames(Counts):
    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        call.name % ()
        return await super().__call__(call, call_next)


class StartsInTheBackground(Counts):
    """And answers before there is an answer."""

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        super().__init__()
        self.tasks = tasks

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        self.tasks.start_soon(call_next, call)
        return dict(call.args)


class LeavesTheCallBehind(StartsInTheBackground):
    """Waits for the answer, and goes without it when it is cancelled."""

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        answers: list[Any] = []
        answered = anyio.Event()

        async def run() -> None:
            answers.append(await call_next(call))
            answered.set()

        self.tasks.start_soon(run)
        await answered.wait()
        return answers[0]


FAULTS: dict[type[Counts], set[str]] = {
    IsSilentlySync: {"it_is_called_as_a_coroutine_function"},
    ForgetsToAwait: {"the_result_is_what_came_from_below"},
    AnswersByItself: {"a_call_is_passed_on_once_and_as_it_is"},
    PassesOnACopy: {"a_call_is_passed_on_once_and_as_it_is"},
    AddsAnArgument: {"a_call_is_passed_on_once_and_as_it_is"},
    CallsTwice: {"a_call_is_passed_on_once_and_as_it_is"},
    GrantsByItself: {"what_it_is_given_stays_as_it_is"},
    MarksTheSession: {"what_it_is_given_stays_as_it_is"},
    MarksTheResult: {"what_it_is_given_stays_as_it_is"},
    LosesWhatIsFalse: {"the_result_is_what_came_from_below"},
    WrapsErrors: {"an_error_from_below_is_raised_as_it_is"},
    ReturnsErrors: {"an_error_from_below_is_raised_as_it_is"},
    AddsToErrors: {"an_error_from_below_is_raised_as_it_is"},
    TriesAgain: {"a_call_that_fails_is_passed_on_at_most_so_often"},
    SwallowsItsCancellation: {
        "a_cancelled_call_is_gone_below",
        "a_call_can_be_cancelled_wherever_it_waits",
    },
    TurnsCancellationIntoAnError: {"a_cancelled_call_is_gone_below"},
    MixesCalls: {"calls_at_once_do_not_mix"},
    OneAtATime: {"a_call_that_waits_holds_up_no_other"},
    CachesForAll: {"callers_do_not_get_what_is_another_s"},
    CachesForAllTenants: {"callers_do_not_get_what_is_another_s"},
    CachesByName: {"a_call_is_passed_on_once_and_as_it_is"},
    IsBrokenByOneError: {"an_error_of_one_call_is_no_other_s"},
    FormatsNames: {"odd_calls_are_answered_or_a_broker_error"},
}

# They are given a task group, in which they leave something running.
BACKGROUND_FAULTS: dict[type[StartsInTheBackground], set[str]] = {
    StartsInTheBackground: {"nothing_runs_below_when_it_has_answered"},
    LeavesTheCallBehind: {"a_cancelled_call_is_gone_below"},
}

KNOWN_BAD: dict[type[MiddlewareSuite], dict[type, set[str]]] = {
    MiddlewareSuite: {**FAULTS, **BACKGROUND_FAULTS}
}
