"""The suite for durable runtimes lets a good one pass and finds each of the known faults."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
from step_runtime import StepRuntime, StepSession, steps

from enclave_broker_core.contracts import Runtime, RuntimeHost
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.testing.durable_runtimes import DurableRuntimeSuite


def call(*calls: tuple[str, dict[str, Any]]) -> list[Any]:
    return ["calls", [list(one) for one in calls]]


class StepSuite(DurableRuntimeSuite):
    session: type[StepSession] = StepSession
    patience = 5.0

    meet = steps(call(*[("test:meet", {"count": 3})] * 3))
    echo_wait_add = steps(
        call(("test:echo", {"value": "first"})),
        ["print", "before\n"],
        call(("test:wait", {}), ("test:add", {"a": 1, "b": 2})),
        ["print", "after\n"],
        ["flat"],
    )
    never = steps(call(("test:never", {})))
    fail_uncaught = steps(call(("test:fail", {"message": "no luck"})), ["raise"])
    define = steps(["keep", 21])
    define_waiting = steps(call(("test:wait", {})), ["keep", 21])
    use = steps(["double"])

    def open_runtime(self) -> AbstractAsyncContextManager[Runtime]:
        return open_steps(self.session)


class _Steps(StepRuntime):
    def __init__(self, session: type[StepSession]) -> None:
        super().__init__(tells=False)
        self._session = session

    @asynccontextmanager
    async def session(
        self, host: RuntimeHost, state: bytes | None = None
    ) -> AsyncIterator[StepSession]:
        yield self._session(self, host, state)


@asynccontextmanager
async def open_steps(session: type[StepSession]) -> AsyncIterator[Runtime]:
    yield _Steps(session)


class TestSteps(StepSuite):
    """Without a fault all tests pass."""


async def failures(session: type[StepSession]) -> set[str]:
    """The names of the suite's tests that this runtime does not pass, but for ``test_``."""
    suite = StepSuite()
    suite.session = session
    suite.patience = 0.5
    failed = set()
    for name in dir(suite):
        if name.startswith("test_"):
            try:
                await getattr(suite, name)()
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt | SystemExit):
                    raise
                failed.add(name.removeprefix("test_"))
    return failed


class CallsFirst(StepSession):
    """Makes a call before the checkpoint that lists it."""

    async def checkpoint(self, state: bytes, keys: list[str]) -> None:
        await self._host.call("test:echo", {"value": 0}, key="early")
        await super().checkpoint(state, keys)


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


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("session", "found"),
    [
        (CallsFirst, {"calls_begin_after_a_checkpoint_that_lists_them"}),
        (ForgetsKeys, {"calls_begin_after_a_checkpoint_that_lists_them"}),
        (ChecksAlways, {"a_run_that_is_not_durable_has_no_checkpoints"}),
        (KeepsNothing, {"a_checkpoint_that_is_not_kept_ends_the_run_without_a_call"}),
        (
            ForgetsWhatWasKept,
            {
                "a_cancelled_resumed_run_leaves_no_call_and_the_state_before_it",
                "an_error_in_a_resumed_run_is_told_as_any_other",
            },
        ),
        (BeginsAnew, {"another_goes_on_from_a_checkpoint"}),
    ],
)
@pytest.mark.anyio
async def test_a_fault_is_found(session: type[StepSession], found: set[str]) -> None:
    assert found <= await failures(session)
