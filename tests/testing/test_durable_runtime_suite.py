"""The suite for durable runtimes lets a good one pass and finds each of the known faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bad_durable_runtimes import KNOWN_BAD, KindRuntime
from jumping import jumping
from step_runtime import StepSession, steps

from enclave_broker_core.contracts import Runtime
from enclave_broker_core.testing.durable_runtimes import DurableRuntimeSuite


def call(*calls: tuple[str, dict[str, Any]]) -> list[Any]:
    return ["calls", [list(one) for one in calls]]


Failures = Callable[[object], Awaitable[set[str]]]


class StepSuite(DurableRuntimeSuite):
    session: type[StepSession] = StepSession
    runtime: type[KindRuntime] = KindRuntime
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

    @asynccontextmanager
    async def open_runtime(self) -> AsyncIterator[Runtime]:
        runtime = self.runtime(tells=False)
        runtime.kind = self.session
        yield runtime


class TestSteps(StepSuite):
    """Without a fault all tests pass."""


@jumping
@pytest.mark.anyio
@pytest.mark.parametrize(("bad", "found_by"), KNOWN_BAD[DurableRuntimeSuite].items())
async def test_the_suite_finds(bad: Any, found_by: set[str], failures: Failures) -> None:
    suite = StepSuite()
    if issubclass(bad, KindRuntime):
        suite.runtime = bad
    else:
        suite.session = bad
    assert await failures(suite) == found_by
