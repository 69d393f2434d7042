"""Runtimes with one fault each, which the suite must find."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping
from typing import Any

import anyio
from anyio.abc import TaskGroup
from pydantic import JsonValue
from toy_runtimes import ToyRuntime, ToySession, ToyStop

from enclave_broker_core.errors import RunError
from enclave_broker_core.testing.runtimes import RuntimeSuite


class SharesState(ToyRuntime):
    def __init__(self, kind: type[ToySession], group: TaskGroup) -> None:
        super().__init__(kind, group)
        self._shared: dict[str, Any] = {}

    def names(self) -> dict[str, Any]:
        return self._shared


class ForgetsState(ToySession):
    async def end(self) -> None:
        await super().end()
        self._names.clear()


class LeaksCalls(ToySession):
    """Its calls belong to the runtime and go on when the run is over."""

    async def call_tool(self, name: str, args: Mapping[str, Any] | None = None) -> Any:
        outcome: list[Any] = []
        ended = anyio.Event()

        async def call() -> None:
            try:
                outcome.append(await super(LeaksCalls, self).call_tool(name, args))
            except (RuntimeError, ToyStop) as error:
                outcome.append(error)
            ended.set()

        self._group.start_soon(call)
        await ended.wait()
        if isinstance(outcome[0], RuntimeError | ToyStop):
            raise outcome[0]
        return outcome[0]


class SwallowsToolErrors(ToySession):
    async def call_tool(self, name: str, args: Mapping[str, Any] | None = None) -> Any:
        try:
            return await super().call_tool(name, args)
        except RuntimeError:
            return None


class PrintsLate(ToySession):
    async def call_tool(self, name: str, args: Mapping[str, Any] | None = None) -> Any:
        held, self._printed = self._printed, []
        try:
            return await super().call_tool(name, args)
        finally:
            self._printed = held + self._printed


class CallsOneByOne(ToySession):
    async def gather(self, *calls: Any) -> list[Any]:
        try:
            return [await call for call in calls]
        finally:
            for call in calls:
                call.close()


class LosesLetters(ToySession):
    """Hands arguments over as ASCII."""

    async def call_tool(self, name: str, args: Mapping[str, Any] | None = None) -> Any:
        text = json.dumps(args or {}, ensure_ascii=False)
        return await super().call_tool(name, json.loads(text.encode("ascii", "replace")))


class GivesWhatCallsGive(ToySession):
    """The value of an expression that calls nothing is lost."""

    async def evaluate(self, code: str) -> Any:
        value = await super().evaluate(code)
        return value if "(" in code else None


class TakesNanForNull(ToySession):
    async def evaluate(self, code: str) -> Any:
        value = await super().evaluate(code)
        return None if isinstance(value, float) and math.isnan(value) else value


class HidesErrors(ToySession):
    async def run(self, code: str, *, last: bool = False) -> JsonValue:
        try:
            return await super().run(code, last=last)
        except RunError:
            raise RunError("the code failed") from None


class RaisesWhatComes(ToySession):
    """Compiles outside of what makes errors of the code its own."""

    async def run(self, code: str, *, last: bool = False) -> JsonValue:
        ast.parse(code)
        return await super().run(code, last=last)


class ForgivesTheLastRun(ToySession):
    async def run(self, code: str, *, last: bool = False) -> JsonValue:
        try:
            return await super().run(code, last=last)
        except RunError:
            if last:
                return None
            raise


class IsUnbounded(ToySession):
    async def work(self, kind: str) -> None:
        if kind == "loop":
            await anyio.sleep_forever()


class CutsResultsOff(ToySession):
    async def evaluate(self, code: str) -> Any:
        value = await super().evaluate(code)
        most = self._host.limits.max_result_bytes // 2
        return value[:most] if isinstance(value, str) else value


class DumpsNothing(ToySession):
    async def dump(self) -> bytes | None:
        return b"{}"


class DumpsAfterARun(ToySession):
    ran = False

    async def run(self, code: str, *, last: bool = False) -> JsonValue:
        self.ran = True
        return await super().run(code, last=last)

    async def dump(self) -> bytes | None:
        if not self.ran:
            raise RunError("there is no state yet")
        return None


KNOWN_BAD: dict[type[RuntimeSuite], dict[type, set[str]]] = {
    RuntimeSuite: {
        ForgetsState: {
            "what_a_run_defined_is_there_in_the_next",
            "the_last_run_finds_what_was_defined_and_has_its_result",
            "what_a_run_defined_before_its_error_is_there_in_the_next",
            "more_sessions_than_workers_can_be_open",
            "sessions_share_nothing",
            "a_cancelled_endless_loop_gives_its_worker_back",
            "computing_is_bounded_by_the_run_timeout",
            "memory_is_bounded",
        },
        SharesState: {"sessions_share_nothing"},
        LeaksCalls: {"a_cancelled_run_leaves_no_call", "a_failed_run_leaves_no_call"},
        SwallowsToolErrors: {
            "the_code_reads_the_code_of_a_tool_error",
            "a_tool_error_that_is_not_caught_ends_the_run",
            "a_failed_run_leaves_no_call",
        },
        PrintsLate: {
            "what_is_printed_comes_in_order_with_the_calls",
            "what_is_printed_is_passed_on_while_the_code_runs",
            "the_output_is_bounded_and_ends_the_run",
        },
        CallsOneByOne: {"calls_run_at_once", "a_failed_run_leaves_no_call"},
        LosesLetters: {"a_call_reaches_the_host_and_its_result_the_code"},
        GivesWhatCallsGive: {
            "the_value_of_the_last_expression_is_the_result",
            "bad_syntax_is_a_run_error",
            "a_cancelled_run_leaves_no_call",
            "recursion_is_bounded",
            "the_result_is_bounded",
            "the_output_is_bounded_and_ends_the_run",
        },
        TakesNanForNull: {"a_value_that_json_cannot_hold_is_a_run_error"},
        HidesErrors: {
            "an_error_of_the_code_is_a_run_error_with_its_text",
            "an_error_of_the_last_run_is_told_as_any_other",
            "a_tool_error_that_is_not_caught_ends_the_run",
            "a_failed_run_leaves_no_call",
        },
        RaisesWhatComes: {"bad_syntax_is_a_run_error"},
        ForgivesTheLastRun: {"an_error_of_the_last_run_is_told_as_any_other"},
        IsUnbounded: {
            "computing_is_bounded_by_the_run_timeout",
            "memory_is_bounded",
            "recursion_is_bounded",
        },
        CutsResultsOff: {"the_result_is_bounded"},
        DumpsNothing: {
            "a_dump_is_taken_up_by_another_runtime",
            "what_is_no_dump_is_refused",
        },
        DumpsAfterARun: {
            "the_state_of_a_fresh_session_can_be_dumped",
            "what_is_no_dump_is_refused",
        },
    }
}
