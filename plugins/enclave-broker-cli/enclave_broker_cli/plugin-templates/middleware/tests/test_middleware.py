"""The middleware by itself: the suite of its contract, then what is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import Middleware, OpenContext
from enclave_broker_core.errors import ToolError
from enclave_broker_core.testing.middleware import MiddlewareSuite, SampleFrame
from pydantic import ValidationError

from enclave_broker_example_middleware.config import SlowCallsConfig
from enclave_broker_example_middleware.middleware import SlowCalls, open_middleware

CALL = ToolCall("c_1", "mail:send", b'{"to": "ada"}', None, SampleFrame(), [])


class TestSlowCalls(MiddlewareSuite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        async with open_middleware(SlowCallsConfig(), OpenContext("middleware")) as middleware:
            yield middleware


class Clock:
    """One that goes on when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.anyio
@pytest.mark.parametrize(("took", "told"), [(2.0, []), (2.25, ["'mail:send' took 2.250 s"])])
async def test_calls_over_the_time_are_told_of(
    took: float, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    middleware = SlowCalls(SlowCallsConfig(seconds=2), clock=clock)

    async def fail(call: ToolCall) -> Any:
        clock.now += took
        raise ToolError("no luck")

    with pytest.raises(ToolError):
        await middleware(CALL, fail)
    assert caplog.messages == told
    assert "ada" not in caplog.text


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": "long"}, {"second": 1}])
def test_a_wrong_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SlowCallsConfig.model_validate(wrong)
