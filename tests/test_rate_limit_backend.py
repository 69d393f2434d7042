"""Which backend counts when the configuration names none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from enclave_broker_memory.limiter import MemoryLimiter
from enclave_broker_memory.store import MemoryStore
from pydantic import BaseModel

from enclave_broker_core import (
    Component,
    OpenContext,
    PluginError,
    RateLimitedError,
    check,
    check_backends,
    hookimpl,
    open_broker,
)

pytestmark = pytest.mark.anyio

RATES = {"per_session": {"max_calls": 1, "window": 60}}


class Address(BaseModel, extra="forbid"):
    url: str


class StoreConfig(Address):
    keep: int = 1


class Unreachable(MemoryStore):
    async def check(self) -> None:
        raise PluginError("nobody answers at store:1")


class UnreachableLimiter(MemoryLimiter):
    async def check(self) -> None:
        raise OSError("nobody answers at limiter:1")


class Shared:
    """A plugin with a store and a limiter of one name, which work and can't be reached."""

    def __init__(self) -> None:
        self.opened: list[BaseModel] = []

    @asynccontextmanager
    async def store(self, config: StoreConfig, context: OpenContext) -> AsyncIterator[Any]:
        self.opened.append(config)
        yield Unreachable()

    @asynccontextmanager
    async def limiter(self, config: Address, context: OpenContext) -> AsyncIterator[Any]:
        self.opened.append(config)
        yield UnreachableLimiter()

    @hookimpl
    def enclave_session_stores(self) -> Iterable[Component]:
        return [Component("shared", self.store, StoreConfig)]

    @hookimpl
    def enclave_limiters(self) -> Iterable[Component]:
        return [Component("shared", self.limiter, Address)]


CONFIG = {"store": {"use": "shared", "url": "x:1", "keep": 5}, "rate_limit": RATES}


async def call_twice(config: dict[str, Any], plugin: Shared) -> None:
    async with open_broker(config, plugins=[plugin]) as broker:

        @broker.tool("t")
        async def t() -> int:
            return 1

        async with broker.session() as session:
            assert await session.call("t") == 1
            with pytest.raises(RateLimitedError):
                await session.call("t")


async def test_it_is_the_stores_own_with_what_both_are_configured_by() -> None:
    plugin = Shared()
    await call_twice(CONFIG, plugin)
    assert sorted(plugin.opened, key=repr) == [
        Address(url="x:1"),
        StoreConfig(url="x:1", keep=5),
    ]


async def test_it_is_memory_when_the_store_has_none() -> None:
    plugin = Shared()
    await call_twice({"rate_limit": RATES}, plugin)
    assert plugin.opened == []


async def test_it_is_the_one_that_is_named() -> None:
    plugin = Shared()
    rates = {**RATES, "backend": {"use": "shared", "url": "y:2"}}
    await call_twice({"rate_limit": rates}, plugin)
    assert plugin.opened == [Address(url="y:2")]


def test_a_mistake_in_the_stores_table_is_told_once() -> None:
    assert check({"store": {"use": "shared"}}, plugins=[Shared()]) == ["store.url: is missing"]


async def test_a_backend_that_can_not_be_reached_is_told() -> None:
    assert await check_backends(CONFIG, plugins=[Shared()]) == [
        "rate_limit.backend: plugin 'Shared' of the program: OSError: nobody answers at limiter:1",
        "store: plugin 'Shared' of the program: nobody answers at store:1",
    ]
