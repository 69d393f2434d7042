"""Which calls are made again, when, and how long that may take."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import pytest
from enclave_broker_middleware.retry import Retry, RetryConfig
from hypothesis import given
from hypothesis import strategies as st
from middleware_calls import Answers, call, spec

from enclave_broker_core import (
    AccessDeniedError,
    DeadlineExceededError,
    RateLimitedError,
    ToolCall,
    ToolError,
    ToolTimeoutError,
)

pytestmark = pytest.mark.anyio

LATE = ToolTimeoutError("too late")
SAFE = spec(idempotent=True)


class Waits:
    """Instead of waiting: notes for how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def retry(waits: Waits | None = None, **config: Any) -> Retry:
    return Retry(RetryConfig(**config), random=Random(1), sleep=waits or Waits())


async def test_a_call_that_fails_is_made_again_until_it_goes_well() -> None:
    below = Answers(LATE, LATE, "done")
    given_call = call(SAFE)
    assert await retry()(given_call, below) == "done"
    assert [one is given_call for one in below.calls] == [True] * 3


@pytest.mark.parametrize(
    ("fields", "tools", "attempts"),
    [
        ({}, None, 1),
        ({"idempotent": True}, None, 3),
        ({"read_only": True}, None, 3),
        ({}, ("users:*",), 3),
        ({"idempotent": True}, ("orders:*",), 1),
    ],
)
async def test_only_what_may_be_done_twice(
    fields: dict[str, Any], tools: tuple[str, ...] | None, attempts: int
) -> None:
    below = Answers(LATE)
    with pytest.raises(ToolTimeoutError):
        await retry(tools=tools)(call(spec(**fields)), below)
    assert len(below.calls) == attempts


@pytest.mark.parametrize(
    ("error", "codes", "attempts"),
    [
        (ToolError("no such user"), None, 1),
        (ToolError("busy", retry_after=1), None, 3),
        (ToolError("no such user"), {"TOOL_ERROR"}, 3),
        (LATE, {"TOOL_ERROR"}, 1),
        (AccessDeniedError("not you"), None, 1),
        (RateLimitedError("slow", scope="global", limit=1, retry_after=2), None, 3),
        (ValueError("not foreseen"), None, 1),
    ],
    ids=lambda value: getattr(value, "message", None),
)
async def test_only_after_errors_that_pass(
    error: Exception, codes: set[str] | None, attempts: int
) -> None:
    below = Answers(error)
    with pytest.raises(type(error)) as caught:
        await retry(codes=codes)(call(SAFE), below)
    assert caught.value is error
    assert len(below.calls) == attempts


async def test_it_waits_a_random_time_that_may_double() -> None:
    drawn: list[tuple[float, float]] = []

    class Highest(Random):
        def uniform(self, a: float, b: float) -> float:
            drawn.append((a, b))
            return b

    waits = Waits()
    config = RetryConfig(attempts=6, delay=1, max_delay=5)
    with pytest.raises(ToolTimeoutError):
        await Retry(config, random=Highest(), sleep=waits)(call(SAFE), Answers(LATE))
    assert drawn == [(0, 1), (0, 2), (0, 4), (0, 5), (0, 5)]
    assert waits.seconds == [1, 2, 4, 5, 5]


async def test_it_waits_as_long_as_it_is_asked_to_and_a_little_more() -> None:
    waits = Waits()
    below = Answers(ToolError("busy", retry_after=7), "done")
    assert await retry(waits, delay=0.5)(call(SAFE), below) == "done"
    assert 7 <= waits.seconds[0] <= 7.5


@pytest.mark.parametrize("asked", [31, float("inf")])
async def test_it_does_not_wait_for_too_long(asked: float) -> None:
    waits, below = Waits(), Answers(ToolError("busy", retry_after=asked))
    with pytest.raises(ToolError):
        await retry(waits)(call(SAFE), below)
    assert (waits.seconds, len(below.calls)) == ([], 1)


async def test_it_does_not_wait_past_the_time_of_the_call() -> None:
    waits, below = Waits(), Answers(ToolError("busy", retry_after=5))
    with pytest.raises(ToolError):
        await retry(waits, delay=0)(call(SAFE, seconds=5), below)
    assert (waits.seconds, len(below.calls)) == ([], 1)


async def test_an_attempt_ends_with_the_time_of_the_call() -> None:
    calls = []
    ended = []

    async def below(call: ToolCall) -> Any:
        calls.append(call)
        if len(calls) == 1:
            call.frame.seconds = 0.01
            raise LATE
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(call)

    with pytest.raises(DeadlineExceededError, match="was tried 2 times"), anyio.fail_after(30):
        await retry(delay=0)(call(SAFE), below)
    assert (len(calls), len(ended)) == (2, 1)


async def test_who_waits_can_be_cancelled() -> None:
    async def waits_for_ever(seconds: float) -> None:
        await anyio.sleep_forever()

    below = Answers(LATE)
    middleware = Retry(RetryConfig(), sleep=waits_for_ever)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(middleware, call(SAFE), below)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert len(below.calls) == 1


@given(
    st.integers(1, 20),
    st.floats(0, 100),
    st.floats(0, 100),
    st.floats(0, 60),
    st.integers(0, 2**32),
    st.integers(1, 19),
)
def test_the_wait_is_within_its_bounds(
    attempts: int, delay: float, most: float, asked: float, seed: int, attempt: int
) -> None:
    config = RetryConfig(attempts=attempts, delay=delay, max_delay=most)
    wait = Retry(config, random=Random(seed))._wait(attempt, ToolError("", retry_after=asked))
    if asked > config.max_wait:
        assert wait is None
    else:
        assert wait is not None
        assert asked <= wait <= asked + min(most, delay * 2 ** (attempt - 1)) + 1e-6
