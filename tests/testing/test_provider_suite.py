"""The provider suite finds what is wrong with a provider or its tools, in the test for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from bad_providers import (
    PROVIDER_FAULTS,
    TOOL_FAULTS,
    WATCH_FAULTS,
    Join,
    LeavesATask,
    Provider,
    World,
)

from enclave_broker_core.contracts import ToolProvider
from enclave_broker_core.testing.providers import Example, ToolProviderSuite

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:coroutine")]

Failures = Callable[[object], Awaitable[set[str]]]


class Suite(ToolProviderSuite):
    patience = 0.5
    examples = (
        Example("join", {"words": ["a", "b"]}, "a-b", {"words": "eight letters"}, "words"),
        Example("join", {"words": []}, "", {"words": ["eight letters", 1]}, "words"),
    )
    waiting = ("wait", {"words": []})

    def __init__(self, provider: type[Provider] = Provider, tool: type[Join] = Join) -> None:
        self._provider = provider
        self._tool = tool

    @asynccontextmanager
    async def open_provider(self) -> AsyncIterator[ToolProvider]:
        self._world = World()
        provider = self._provider(self._world)
        provider.tool = self._tool
        yield provider

    async def change(self) -> None:
        self._world.add("join:more")

    def running(self) -> int:
        return self._world.waiting


class SuiteOfATaskGroup(Suite):
    def __init__(self, provider: type[LeavesATask]) -> None:
        super().__init__()
        self._leaving = provider

    @asynccontextmanager
    async def open_provider(self) -> AsyncIterator[ToolProvider]:
        self._world = World()
        async with anyio.create_task_group() as tasks:
            yield self._leaving(self._world, tasks)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize(("provider", "found_by"), PROVIDER_FAULTS.items())
async def test_the_suite_finds_a_provider_that(
    provider: type[Provider], found_by: set[str], failures: Failures
) -> None:
    assert found_by <= await failures(Suite(provider))


@pytest.mark.parametrize(("tool", "found_by"), TOOL_FAULTS.items())
async def test_the_suite_finds_a_tool_that(
    tool: type[Join], found_by: set[str], failures: Failures
) -> None:
    assert found_by <= await failures(Suite(tool=tool))


@pytest.mark.parametrize(("provider", "found_by"), WATCH_FAULTS.items())
async def test_the_suite_finds_a_watch_that(
    provider: type[LeavesATask], found_by: set[str], failures: Failures
) -> None:
    assert found_by <= await failures(SuiteOfATaskGroup(provider))


async def test_the_suite_finds_nothing_else(failures: Failures) -> None:
    assert await failures(Suite()) == set()
