"""What the suites check alike: that the good pass, however they wait, and the bad do not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint

from enclave_broker_core.errors import AccessDeniedError, BrokerError
from enclave_broker_core.json_form import json_text, parse
from enclave_broker_core.testing import hostile
from enclave_broker_core.testing.checks import (
    PatientSuite,
    cancel_at_each_wait,
    logged,
    nothing_left_running,
    sync_methods,
    told,
)

pytestmark = pytest.mark.anyio


async def at_once() -> int:
    return 1


async def in_a_thread() -> float:
    return await anyio.to_thread.run_sync(time.monotonic)


async def within_its_own_time() -> None:
    with anyio.move_on_after(0):
        await anyio.sleep_forever()
    await checkpoint()


async def shielded() -> None:
    """As a store is: what it began it finishes."""
    with anyio.CancelScope(shield=True):
        await checkpoint()
        await checkpoint()


async def by_children() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(checkpoint)
        tasks.start_soon(checkpoint)


async def cleaning_up() -> None:
    try:
        await checkpoint()
    finally:
        await cancel_shielded_checkpoint()


@pytest.mark.parametrize(
    "ask", [at_once, in_a_thread, within_its_own_time, shielded, by_children, cleaning_up]
)
async def test_what_ends_when_cancelled_is_well(ask: Callable[[], Awaitable[object]]) -> None:
    with anyio.fail_after(10):
        await cancel_at_each_wait(ask)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_waits_by_asyncio_itself_is_well() -> None:
    async def ask() -> None:
        await asyncio.sleep(0)
        await asyncio.to_thread(time.monotonic)
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))

    with anyio.fail_after(10):
        await cancel_at_each_wait(ask)


async def test_it_is_asked_once_for_each_place_where_it_waits() -> None:
    reached: list[int] = []

    async def ask() -> None:
        for place in range(3):
            reached.append(place)
            await checkpoint()

    await cancel_at_each_wait(ask)
    assert reached[:3] == [0, 1, 2]  # once for good
    assert reached[3] == 0  # cancelled at the first
    assert reached[-3:] == [0, 1, 2]  # there is no more place


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_that_is_swallowed_anywhere_is_found(place: int) -> None:
    async def ask() -> None:
        for number in range(3):
            if number == place:
                with contextlib.suppress(anyio.get_cancelled_exc_class()):
                    await checkpoint()
                    await checkpoint()
                return
            await checkpoint()

    with pytest.raises(AssertionError, match="and it answered"):
        await cancel_at_each_wait(ask)


async def test_another_error_in_its_place_is_raised() -> None:
    async def ask() -> None:
        try:
            await checkpoint()
        except anyio.get_cancelled_exc_class():
            raise BrokerError("cancelled") from None

    with pytest.raises(BrokerError, match="cancelled"):
        await cancel_at_each_wait(ask)


async def test_a_task_that_is_left_is_found() -> None:
    async with anyio.create_task_group() as tasks:
        with pytest.raises(AssertionError):
            async with nothing_left_running():
                tasks.start_soon(anyio.sleep_forever, name="left behind")
        tasks.cancel_scope.cancel()


async def test_a_task_that_was_there_before_may_stay() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        async with nothing_left_running():
            await by_children()
        tasks.cancel_scope.cancel()


async def test_what_hangs_is_given_up() -> None:
    class Impatient(PatientSuite):
        patience = 0.01

    @asynccontextmanager
    async def opened() -> AsyncIterator[str]:
        yield "part"

    with pytest.raises(TimeoutError):
        async with Impatient().patiently(opened()) as part:
            assert part == "part"
            await anyio.sleep_forever()


def test_sync_methods_are_named() -> None:
    class Part:
        async def waits(self) -> None: ...
        def passes_on(self) -> Awaitable[None]:
            return self.waits()

    assert sync_methods(Part(), "waits", "passes_on", "missing") == ["passes_on", "missing"]


def test_an_error_tells_of_its_causes_but_not_of_what_it_hides() -> None:
    def denied(*, hide: bool) -> str:
        try:
            try:
                {}["the key"]
            except KeyError:
                if hide:
                    raise AccessDeniedError("no") from None
                raise AccessDeniedError("no") from ValueError("the cause")
        except AccessDeniedError as problem:
            return told(problem)

    assert "the cause" in denied(hide=False)
    assert "the key" not in denied(hide=True)


def test_all_that_is_logged_is_heard_and_no_more() -> None:
    logger = logging.getLogger("suites.test")
    with logged() as texts:
        logger.debug("in %s", "words")
        logger.info("beside", extra={"token": "in-extra"})
    logger.warning("after")
    assert len(texts) == 2
    assert "in words" in texts[0]
    assert "in-extra" in texts[1]


def test_odd_values_can_come_through_a_broker() -> None:
    text = json_text(hostile.arguments(), 1024 * 1024)
    assert parse(text).keys() == hostile.arguments().keys()
    assert all(name.encode() is not None for name in hostile.NAMES)
