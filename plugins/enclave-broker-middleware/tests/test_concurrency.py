"""How many calls run at once, who waits, and for how long."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from enclave_broker_middleware.concurrency import Concurrency, ConcurrencyConfig
from enclave_broker_middleware.errors import TooManyCallsError
from enclave_broker_middleware.places import Place, Places
from hypothesis import given
from hypothesis import strategies as st
from middleware_calls import ADA, BOB, Answers, call, spec

from enclave_broker_core import Principal, ToolCall, ToolError

pytestmark = pytest.mark.anyio

TOOL = spec()


class Busy:
    """Below the middleware: calls run until they are released, one by one."""

    def __init__(self) -> None:
        self.running: list[tuple[ToolCall, anyio.Event]] = []

    async def __call__(self, given: ToolCall) -> Any:
        one = (given, anyio.Event())
        self.running.append(one)
        try:
            await one[1].wait()
        finally:
            self.running.remove(one)
        return given.args

    def release(self) -> None:
        self.running[0][1].set()


async def running(middleware: Concurrency, *calls: ToolCall) -> int:
    """How many of the calls run at once."""
    busy = Busy()
    async with anyio.create_task_group() as tasks:
        for one in calls:
            tasks.start_soon(middleware, one, busy)
        await anyio.wait_all_tasks_blocked()
        count = len(busy.running)
        tasks.cancel_scope.cancel()
    assert middleware._places == {}
    return count


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({}, 4),
        ({"per": "pattern"}, 1),
        ({"per": "pattern", "tools": ("a", "*")}, 2),
        ({"per": "principal"}, 2),
        ({"tools": ("a",)}, 4),
    ],
    ids=str,
)
async def test_what_has_places_of_its_own(config: dict[str, Any], most: int) -> None:
    tools = [spec("a"), spec("b"), spec("c"), spec("d")]
    calls = [*(call(tool) for tool in tools), call(tools[0], principal=BOB), call(tools[0])]
    assert await running(Concurrency(ConcurrencyConfig(max_calls=1, **config)), *calls) == most


async def test_tenants_and_the_program_itself_are_apart() -> None:
    callers = [ADA, Principal(id="ada", tenant="south"), Principal(id="ada"), None, None, ADA]
    middleware = Concurrency(ConcurrencyConfig(max_calls=1, per="principal"))
    calls = [call(TOOL, principal=principal) for principal in callers]
    assert await running(middleware, *calls) == 4


async def test_those_who_wait_come_in_their_order() -> None:
    middleware, busy, order = Concurrency(ConcurrencyConfig(max_calls=2)), Busy(), []

    async def ask(number: int) -> None:
        await middleware(call(TOOL, {"n": number}), busy)

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(ask, number)
            await anyio.wait_all_tasks_blocked()
        while busy.running:
            assert len(busy.running) <= 2
            order.append(busy.running[0][0].args["n"])
            busy.release()
            await anyio.wait_all_tasks_blocked()
    assert order == [0, 1, 2, 3, 4, 5]
    assert middleware._places == {}


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({"timeout": 0}, 60),
        ({"timeout": 0.01}, 60),
        ({"max_waiting": 0}, 60),
        ({"timeout": 86400}, 0.01),
    ],
    ids=["nobody waits", "too long", "no room to wait", "the call's own time"],
)
async def test_who_gets_no_place_is_told_to_come_back(
    config: dict[str, Any], seconds: float
) -> None:
    middleware, busy = Concurrency(ConcurrencyConfig(max_calls=1, **config)), Busy()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(middleware, call(TOOL), busy)
        await anyio.wait_all_tasks_blocked()
        below = Answers("not asked")
        with pytest.raises(TooManyCallsError) as caught, anyio.fail_after(30):
            await middleware(call(TOOL, seconds=seconds), below)
        assert (caught.value.retryable, caught.value.retry_after) == (True, 1.0)
        assert caught.value.code == "TOO_MANY_CALLS"
        assert below.calls == []
        busy.release()
    assert middleware._places == {}


async def test_the_queue_has_an_end() -> None:
    middleware = Concurrency(ConcurrencyConfig(max_calls=1, max_waiting=2))
    busy = Busy()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(middleware, call(TOOL), busy)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(TooManyCallsError):
            await middleware(call(TOOL), busy)
        tasks.cancel_scope.cancel()


async def test_a_place_comes_back_from_a_call_that_fails() -> None:
    middleware = Concurrency(ConcurrencyConfig(max_calls=1, timeout=0))
    for _ in range(3):
        with pytest.raises(ToolError):
            await middleware(call(TOOL), Answers(ToolError("no luck")))
    assert middleware._places == {}


async def test_a_place_comes_back_from_a_call_that_was_let_go() -> None:
    """One that is never resumed never gives it back; but its time comes to an end."""
    middleware, busy = Concurrency(ConcurrencyConfig(max_calls=1, timeout=0)), Busy()
    letting_go = middleware(call(TOOL, seconds=0), busy)
    letting_go.send(None)
    try:
        assert await middleware(call(TOOL), Answers("well")) == "well"
    finally:
        letting_go.close()


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "give", "cancel"]), st.integers(0, 99)), max_size=30
)


@given(STEPS, st.integers(1, 3), st.integers(0, 4))
def test_places_beside_a_list_of_who_has_one(
    steps: list[tuple[str, int]], most: int, most_waiting: int
) -> None:
    anyio.run(compare, steps, most, most_waiting, backend=random.Random(str(steps)).choice(LOOPS))


LOOPS = ("asyncio", "trio")


async def compare(steps: list[tuple[str, int]], most: int, most_waiting: int) -> None:
    """The slow and obvious one: who has a place and who waits, as two lists of numbers."""
    places = Places(most, most_waiting)
    having: list[int] = []
    waiting: list[int] = []
    refused: list[int] = []
    found: dict[int, Place | None] = {}
    scopes: dict[int, anyio.CancelScope] = {}

    async def take(number: int) -> None:
        with anyio.CancelScope() as scopes[number]:
            found[number] = await places.take(1e6, 1e12)

    async with anyio.create_task_group() as tasks:
        for number, (step, which) in enumerate(steps):
            if step == "take":
                tasks.start_soon(take, number)
                if len(having) < most:
                    having.append(number)
                elif len(waiting) < most_waiting:
                    waiting.append(number)
                else:
                    refused.append(number)
            elif step == "give" and having:
                place = found[having.pop(which % len(having))]
                assert place is not None
                places.give_back(place)
                if waiting:
                    having.append(waiting.pop(0))
            elif step == "cancel" and waiting:
                scopes[waiting.pop(which % len(waiting))].cancel()
            await anyio.wait_all_tasks_blocked()
            assert {at for at in having if found[at] is not None} == set(having)
            assert [at for at in waiting if at in found] == []
            assert [at for at in refused if found[at] is not None] == []
        tasks.cancel_scope.cancel()
    for number in having:
        place = found[number]
        assert place is not None
        places.give_back(place)
    assert places.is_unused
