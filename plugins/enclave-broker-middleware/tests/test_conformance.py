"""Every middleware keeps the contract: as it comes, and with the calls being its business."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from enclave_broker_middleware.cache import Cache, CacheConfig
from enclave_broker_middleware.circuit_breaker import CircuitBreaker
from enclave_broker_middleware.concurrency import Concurrency, ConcurrencyConfig
from enclave_broker_middleware.defaults import Defaults, DefaultsConfig
from enclave_broker_middleware.dry_run import DryRun, DryRunConfig
from enclave_broker_middleware.redact import Redact, RedactConfig
from enclave_broker_middleware.retry import Retry, RetryConfig
from enclave_broker_middleware.shape import Shape, ShapeConfig
from pydantic import JsonValue

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import Middleware
from enclave_broker_core.testing.middleware import MiddlewareSuite


class TestRetry(MiddlewareSuite):
    most_calls = 3
    flags: ClassVar[Mapping[str, Any]] = {"idempotent": True}

    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield Retry(RetryConfig(attempts=3, delay=0))


class TestCache(MiddlewareSuite):
    flags: ClassVar[Mapping[str, Any]] = {"read_only": True}

    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield Cache()


class TestCachePerSession(TestCache):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield Cache(CacheConfig(per_session=True, max_entries=2, metadata=("plan",)))


class TestSmallCache(TestCache):
    """It has room for one answer and hardly that."""

    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield Cache(CacheConfig(max_bytes=310))


class TestCircuitBreaker(MiddlewareSuite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield CircuitBreaker()


class TestConcurrency(MiddlewareSuite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield Concurrency(ConcurrencyConfig(max_calls=2))


class TestConcurrencyOfOne(MiddlewareSuite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield Concurrency(ConcurrencyConfig(max_calls=1, per="principal"))

    async def test_a_call_that_waits_holds_up_no_other(self) -> None:
        pytest.skip("that is what this middleware is for")


class TestShape(MiddlewareSuite):
    """What is small enough stays as it is."""

    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield Shape(ShapeConfig(max_bytes=100))


class TestShapeThatOmits(MiddlewareSuite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield Shape(ShapeConfig(omit=("/list", "/0")))

    def answered(self, result: JsonValue) -> JsonValue:
        if isinstance(result, dict):
            return {name: item for name, item in result.items() if name != "list"}
        return result[1:] if isinstance(result, list) else result


class TestRedact(MiddlewareSuite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield Redact()


class TestRedactOfArguments(MiddlewareSuite):
    arguments: ClassVar[Mapping[str, JsonValue]] = {"mail": "ada@example.org"}

    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield Redact(RedactConfig(arguments=True))

    def passed_on(self, call: ToolCall) -> ToolCall:
        return call.replace(args={**call.args, "mail": "[email]"})


class TestDefaults(MiddlewareSuite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        rule = {
            "tools": ["test:*"],
            "defaults": {"list": "not this one", "limit": 5},
            "fixed": {"safe": True},
        }
        yield Defaults(DefaultsConfig.model_validate({"rules": [rule]}))

    def passed_on(self, call: ToolCall) -> ToolCall:
        return call.replace(args={**call.args, "limit": 5, "safe": True})


class TestDefaultsThatChangeNothing(MiddlewareSuite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        rule = {"tools": ["test:*"], "defaults": {"number": 0}, "defaults_from": {}}
        yield Defaults(DefaultsConfig.model_validate({"rules": [rule]}))


class TestDryRunOfOthers(MiddlewareSuite):
    @asynccontextmanager
    async def open_middleware(self) -> AsyncIterator[Middleware]:
        yield DryRun(DryRunConfig(tools=("other:*",), compare={"another": "one"}))
