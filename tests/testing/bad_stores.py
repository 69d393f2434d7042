"""Stores whose methods or checks have one fault each, which the suite must find."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from enclave_broker_memory.store import MemoryStore

from enclave_broker_core.models import SessionRecord
from enclave_broker_core.testing.stores import SessionStoreSuite


def timed(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any, **more: Any) -> Any:
        return method(*given, **more)

    return call


class IsSilentlySync(MemoryStore):
    def sweep(self, now: float) -> Awaitable[int]:  # type: ignore[override]
        return super().sweep(now)


class IsWrappedInAFunction(MemoryStore):
    """What a decorator makes of a coroutine function is none."""

    claim = timed(MemoryStore.claim)


class StreamsItsList(MemoryStore):
    async def list(self, **asked: Any) -> AsyncIterator[SessionRecord]:  # type: ignore[override]
        for record in await super().list(**asked):
            yield record


class ChecksNothingYet(MemoryStore):
    async def check(self) -> None:
        raise NotImplementedError


class ChecksAnEmptyStore(MemoryStore):
    """Takes a store without sessions for one that is out of reach."""

    async def check(self) -> None:
        await self.read("health")


KNOWN_BAD = {
    SessionStoreSuite: {
        IsSilentlySync: {"every_method_is_a_coroutine_function"},
        IsWrappedInAFunction: {"every_method_is_a_coroutine_function"},
        StreamsItsList: {"every_method_is_a_coroutine_function"},
        ChecksNothingYet: {"check_is_content_with_a_store_that_works"},
        ChecksAnEmptyStore: {"check_is_content_with_a_store_that_works"},
    }
}
