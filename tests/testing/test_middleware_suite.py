"""The middleware suite finds what is wrong with one, in the test for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from bad_middleware import (
    BACKGROUND_FAULTS,
    FAULTS,
    AddsAnArgument,
    Caches,
    Counts,
    TriesAgain,
)

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import Middleware
from enclave_broker_core.testing.middleware import MiddlewareSuite

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:coroutine")]


class Suite(MiddlewareSuite):
    patience = 0.5

    def __init__(self, middleware: type[Counts] = Counts) -> None:
        self._middleware = middleware

    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield self._middleware()


class SuiteOfTwoTries(Suite):
    most_calls = 2


class SuiteOfAddedArguments(Suite):
    def passed_on(self, call: ToolCall) -> ToolCall:
        return call.replace(args={**call.args, "seen": True})


class SuiteOfTheBackground(Suite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        async with anyio.create_task_group() as tasks:
            middleware: Any = self._middleware
            yield middleware(tasks)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("middleware", "found_by"), FAULTS.items())
async def test_the_suite_finds(
    middleware: type[Counts], found_by: set[str], failures: Callable[[object], Awaitable[set[str]]]
) -> None:
    assert found_by <= await failures(Suite(middleware))


@pytest.mark.parametrize(("middleware", "found_by"), BACKGROUND_FAULTS.items())
async def test_the_suite_finds_what_runs_on_in_the_background(
    middleware: Any, found_by: set[str], failures: Callable[[object], Awaitable[set[str]]]
) -> None:
    assert found_by <= await failures(SuiteOfTheBackground(middleware))


@pytest.mark.parametrize(
    "suite",
    [Suite(), Suite(Caches), SuiteOfTwoTries(TriesAgain), SuiteOfAddedArguments(AddsAnArgument)],
    ids=["counts", "caches", "tries again", "adds an argument"],
)
async def test_the_suite_finds_nothing_else(
    suite: Suite, failures: Callable[[object], Awaitable[set[str]]]
) -> None:
    assert await failures(suite) == set()
