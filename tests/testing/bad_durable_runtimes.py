"""Durable runtimes with one fault each, which the suite must find."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from step_runtime import StepRuntime, StepSession

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.testing.durable_runtimes import DurableRuntimeSuite


class KindRuntime(StepRuntime):
    """``kind`` is what its sessions are."""

    kind: type[StepSession] = StepSession

    @asynccontextmanager
    async def session(
        self, host: RuntimeHost, state: bytes | None = None
    ) -> AsyncIterator[StepSession]:
        yield self.kind(self, host, state)


class SaysNothingOfIt(KindRuntime):
    durable = False


class ListsNoCalls(StepSession):
    async def checkpoint(self, state: bytes, keys: list[str]) -> None:
        await super().checkpoint(state, [])


class ForgetsKeys(StepSession):
    def keys(self, run: dict[str, Any], calls: list[Any]) -> list[str]:
        return ["same" for _ in calls]


class ChecksAlways(StepSession):
    def __init__(self, runtime: StepRuntime, host: RuntimeHost, state: bytes | None) -> None:
        super().__init__(runtime, host, state)
        self.durable = True


class KeepsNothing(StepSession):
    async def checkpoint(self, state: bytes, keys: list[str]) -> None:
        with suppress(BrokerError):
            await super().checkpoint(state, keys)


class ForgetsWhatWasKept(StepSession):
    async def checkpoint(self, state: bytes, keys: list[str]) -> None:
        told = json.loads(state) | {"kept": []}
        await super().checkpoint(json.dumps(told).encode(), keys)


class BeginsAnew(StepSession):
    async def checkpoint(self, state: bytes, keys: list[str]) -> None:
        told = json.loads(state)
        told["run"] |= {"at": 0, "got": []}
        await super().checkpoint(json.dumps(told).encode(), keys)


class SavesAfterTheCalls(StepSession):
    """Saves what came of the calls, and so makes them again when that was not kept."""

    async def checkpoint(self, state: bytes, keys: list[str]) -> None:
        self._late = (state, keys)

    async def _calls(self, run: dict[str, Any], calls: list[Any], resumed: bool) -> list[Any]:
        results = await super()._calls(run, calls, resumed)
        if self.durable and not resumed:
            await super().checkpoint(*self._late)
        return results


class PrintsLate(StepSession):
    """Holds output back, and saves before it is out."""

    def __init__(self, runtime: StepRuntime, host: RuntimeHost, state: bytes | None) -> None:
        super().__init__(runtime, host, state)
        self._host: Any = _HoldsBack(host)

    async def _go(self, run: dict[str, Any], *, resumed: bool) -> Any:
        result = await super()._go(run, resumed=resumed)
        await self._host.flush()
        return result


class _HoldsBack:
    def __init__(self, host: RuntimeHost) -> None:
        self._host = host
        self._held: list[str] = []
        self.call = host.call

    async def stdout(self, chunk: str) -> None:
        self._held.append(chunk)

    async def checkpoint(self, state: bytes, calls: list[str]) -> None:
        await self._host.checkpoint(state, calls)
        await self.flush()

    async def flush(self) -> None:
        while self._held:
            await self._host.stdout(self._held.pop(0))


class NamesCallsAnew(StepSession):
    """A call that is made once more by who goes on has another key."""

    resumed = False

    async def resume(self, *, last: bool = False) -> Any:
        self.resumed = True
        return await super().resume(last=last)

    def keys(self, run: dict[str, Any], calls: list[Any]) -> list[str]:
        keys = super().keys(run, calls)
        return [f"{key}_again" for key in keys] if self.resumed else keys


class SavesNothingMore(StepSession):
    """Who went on once has no checkpoints."""

    async def resume(self, *, last: bool = False) -> Any:
        self.durable = False
        return await super().resume(last=last)


class ForgetsWhatAResumedRunKept(StepSession):
    async def resume(self, *, last: bool = False) -> Any:
        before = list(self._kept)
        try:
            return await super().resume(last=last)
        finally:
            self._kept = before


class HasNothingToGoOnWith(StepSession):
    """Takes a state between runs for a run that is over."""

    async def resume(self, *, last: bool = False) -> Any:
        if self._run is None:
            return None
        return await super().resume(last=last)


KNOWN_BAD: dict[type[DurableRuntimeSuite], dict[type, set[str]]] = {
    DurableRuntimeSuite: {
        SaysNothingOfIt: {"it_says_that_it_is_durable"},
        ListsNoCalls: {"calls_begin_after_a_checkpoint_that_lists_them"},
        ForgetsKeys: {
            "a_call_whose_outcome_is_known_gets_it",
            "calls_begin_after_a_checkpoint_that_lists_them",
            "what_was_printed_comes_before_the_checkpoint",
        },
        ChecksAlways: {"a_run_that_is_not_durable_has_no_checkpoints"},
        KeepsNothing: {"a_checkpoint_that_is_not_kept_ends_the_run_without_a_call"},
        ForgetsWhatWasKept: {
            "a_cancelled_resumed_run_leaves_no_call_and_the_state_before_it",
            "an_error_in_a_resumed_run_is_told_as_any_other",
        },
        BeginsAnew: {
            "a_call_whose_outcome_is_known_gets_it",
            "a_resumed_run_makes_further_checkpoints",
            "another_goes_on_from_a_checkpoint",
        },
        SavesAfterTheCalls: {
            "a_call_whose_outcome_is_known_gets_it",
            "a_cancelled_resumed_run_leaves_no_call_and_the_state_before_it",
            "a_checkpoint_that_is_not_kept_ends_the_run_without_a_call",
            "a_resumed_run_makes_further_checkpoints",
            "an_error_in_a_resumed_run_is_told_as_any_other",
            "another_goes_on_from_a_checkpoint",
            "calls_begin_after_a_checkpoint_that_lists_them",
            "what_a_resumed_run_defined_is_there_in_the_next",
            "what_was_printed_comes_before_the_checkpoint",
        },
        PrintsLate: {"what_was_printed_comes_before_the_checkpoint"},
        NamesCallsAnew: {
            "a_call_whose_outcome_is_known_gets_it",
            "an_earlier_checkpoint_leads_to_the_same_calls",
            "another_goes_on_from_a_checkpoint",
        },
        SavesNothingMore: {"a_resumed_run_makes_further_checkpoints"},
        ForgetsWhatAResumedRunKept: {"what_a_resumed_run_defined_is_there_in_the_next"},
        HasNothingToGoOnWith: {"there_is_nothing_to_go_on_with_in_a_state_between_runs"},
    }
}
