"""What has a circuit, what counts as a failure, and what is told while it is open."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from enclave_broker_middleware.circuit_breaker import CircuitBreaker, CircuitBreakerConfig
from enclave_broker_middleware.errors import CircuitOpenError
from middleware_calls import BOB, Answers, call, spec

from enclave_broker_core import (
    AccessDeniedError,
    RateLimitedError,
    ToolCall,
    ToolError,
    ToolSpec,
    ToolTimeoutError,
)
from enclave_broker_core.testing.fakes import Clock

pytestmark = pytest.mark.anyio

TOOL = spec()
FAILURE = ToolError("no luck")


def breaker(clock: Clock | None = None, **config: Any) -> CircuitBreaker:
    given = {"min_calls": 2, "failure_rate": 1.0, "open_for": 30, **config}
    return CircuitBreaker(CircuitBreakerConfig.model_validate(given), clock=clock or Clock())


async def ask(middleware: CircuitBreaker, given: ToolCall, answer: Any) -> str:
    """What came of a call: its answer, or its error's code or name."""
    below = Answers(answer)
    try:
        return str(await middleware(given, below))
    except Exception as error:
        # Its own refusal when nothing was called, and else what came from below.
        own = isinstance(error, CircuitOpenError) and not below.calls
        return error.code if own else str(getattr(answer, "code", type(error).__name__))


async def test_it_opens_and_is_tried_again() -> None:
    clock = Clock()
    middleware = breaker(clock)
    for _ in range(2):
        assert await ask(middleware, call(TOOL), FAILURE) == "TOOL_ERROR"
    clock.now += 10
    with pytest.raises(CircuitOpenError) as caught:
        await middleware(call(TOOL), Answers("not asked"))
    error = caught.value
    assert (error.retryable, error.retry_after) == (True, 20)
    assert error.to_wire() == {
        "code": "CIRCUIT_OPEN",
        "message": "users:get failed too often of late and is not called for now; try again"
        " in 20 s",
        "details": [{"type": "retry_info", "retryDelayMs": 20_000}],
    }
    clock.now += 20
    assert await ask(middleware, call(TOOL), FAILURE) == "TOOL_ERROR"
    assert await ask(middleware, call(TOOL), "well") == "CIRCUIT_OPEN"
    clock.now += 30
    assert [await ask(middleware, call(TOOL), "well") for _ in range(3)] == ["well"] * 3


@pytest.mark.parametrize(
    ("error", "codes", "opens"),
    [
        (FAILURE, None, True),
        (ToolTimeoutError("late"), None, True),
        (ValueError("not foreseen"), None, True),
        (AccessDeniedError("no"), None, False),
        (RateLimitedError("no", scope="global", limit=1, retry_after=1), None, False),
        (CircuitOpenError("of another circuit"), None, False),
        (FAILURE, {"TOOL_TIMEOUT"}, False),
        (ValueError("not foreseen"), {"TOOL_TIMEOUT"}, False),
        (ToolTimeoutError("late"), {"TOOL_TIMEOUT"}, True),
    ],
)
async def test_only_some_errors_are_failures(
    error: Exception, codes: set[str] | None, opens: bool
) -> None:
    middleware = breaker(**({} if codes is None else {"codes": codes}))
    for _ in range(3):
        await ask(middleware, call(TOOL), error)
    assert (await ask(middleware, call(TOOL), "well") == "CIRCUIT_OPEN") is opens


@pytest.mark.parametrize(
    ("config", "other", "shared"),
    [
        ({}, spec("users:list"), False),
        ({"per": "pattern", "tools": ["orders:*", "users:*"]}, spec("users:list"), True),
        ({"per": "pattern", "tools": ["users:get", "users:*"]}, spec("users:list"), False),
        ({"per": "source"}, spec("users:list"), True),
        ({"per": "source"}, spec("users:list", source="billing"), False),
        ({"tools": ["users:get"]}, spec("users:list"), False),
    ],
    ids=str,
)
async def test_what_has_a_circuit(config: dict[str, Any], other: ToolSpec, shared: bool) -> None:
    middleware = breaker(**config)
    for _ in range(2):
        await ask(middleware, call(TOOL), FAILURE)
    assert await ask(middleware, call(TOOL), "well") == "CIRCUIT_OPEN"
    assert (await ask(middleware, call(other), "well") == "CIRCUIT_OPEN") is shared


@pytest.mark.parametrize("apart", [False, True])
async def test_a_caller_may_have_circuits_of_his_own(apart: bool) -> None:
    middleware = breaker(per_principal=apart)
    for _ in range(2):
        await ask(middleware, call(TOOL), FAILURE)
    found = await ask(middleware, call(TOOL, principal=BOB), "well")
    assert found == ("well" if apart else "CIRCUIT_OPEN")


async def test_what_is_cancelled_says_nothing() -> None:
    clock = Clock()
    middleware = breaker(clock)
    for _ in range(2):
        await ask(middleware, call(TOOL), FAILURE)
    clock.now += 30

    async def never(call: ToolCall) -> Any:
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(middleware, call(TOOL), never)
        await anyio.wait_all_tasks_blocked()
        assert await ask(middleware, call(TOOL), "well") == "CIRCUIT_OPEN"  # one at a time
        tasks.cancel_scope.cancel()
    assert await ask(middleware, call(TOOL), "well") == "well"
    assert await ask(middleware, call(TOOL), FAILURE) == "TOOL_ERROR"  # it has closed


async def test_there_are_only_so_many_circuits() -> None:
    middleware = breaker(max_circuits=2)
    for name in ("a", "b", "a", "c"):
        await ask(middleware, call(spec(name)), FAILURE)
    assert len(middleware._circuits) == 2
    assert await ask(middleware, call(spec("a")), "well") == "CIRCUIT_OPEN"
    assert await ask(middleware, call(spec("b")), FAILURE) == "TOOL_ERROR"
