"""A store that counts calls: a call's first event and its windows are one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from enclave_broker_memory.limiter import MemoryLimiter
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core import (
    AccessController,
    AccessDeniedError,
    Admission,
    Broker,
    LimiterError,
    PluginError,
    RateLimitedError,
    RateLimiter,
    StoreError,
    ToolCall,
    Window,
)
from enclave_broker_core.contracts import CallNext

pytestmark = pytest.mark.anyio
TWO = {"max_calls": 2, "window": 1000}


class CountingStore(MemoryStore):
    """Notes what it was asked to write, in order; ``fails`` is what it raises next."""

    def __init__(self) -> None:
        super().__init__()
        self.limiter = MemoryLimiter()
        self.asked: list[str] = []
        self.fails: Exception | None = None

    async def append(self, session_id: str, event: Any, call: Any = None) -> int:
        self.asked.append(f"append {event[0]}")
        return await super().append(session_id, event, call)

    async def admit(self, session_id: str, event: Any, windows: Sequence[Window]) -> Admission:
        self.asked.append(f"admit {event[0]}")
        if isinstance(self.fails, StoreError):
            raise self.fails
        await super().append(session_id, event)
        if self.fails is not None:
            raise self.fails
        return await self.limiter.acquire(windows)


async def add(a: int, b: int) -> int:
    return a + b


async def asked(store: CountingStore, **options: Any) -> tuple[list[str], Any]:
    """What one call made the store do, and what came of it."""
    broker = Broker(tools={"add": add}, store=store, **options)
    async with broker, broker.session() as session:
        store.asked.clear()
        try:
            came: Any = await session.call("add", {"a": 1, "b": 2})
        except Exception as error:
            came = error
        return store.asked[:], came


async def test_one_step_to_admit_and_one_to_record() -> None:
    done, came = await asked(CountingStore(), limiter=RateLimiter(per_session=TWO))
    assert (done, came) == (["admit tool_call", "append tool_result_applied"], 3)


async def test_without_windows_the_event_is_written_before_the_handler_runs() -> None:
    done, came = await asked(CountingStore())
    assert (done, came) == (["append tool_call", "append tool_result_applied"], 3)


async def test_a_refused_call_has_both_events_and_counts_nothing() -> None:
    store = CountingStore()
    done, came = await asked(
        store, access=AccessController(default="deny"), limiter=RateLimiter(global_=TWO)
    )
    assert done == ["append tool_call", "append tool_result_applied"]
    assert isinstance(came, AccessDeniedError)
    assert list(await store.limiter.remaining([Window("global", "global", 2, 1000)])) == [2]


async def test_a_full_window_refuses_and_the_log_has_the_call() -> None:
    store = CountingStore()
    limiter = RateLimiter(global_={"max_calls": 1, "window": 1000})
    assert (await asked(store, limiter=limiter))[1] == 3
    done, came = await asked(store, limiter=limiter)
    assert isinstance(came, RateLimitedError)
    assert done == ["admit tool_call", "append tool_result_applied"]


async def test_what_middleware_tells_comes_after_the_call() -> None:
    async def tells(call: ToolCall, call_next: CallNext) -> Any:
        await call.frame.log("info", "on its way")
        return await call_next(call)

    limiter = RateLimiter(global_=TWO)
    done, came = await asked(CountingStore(), middleware=[tells], limiter=limiter)
    assert came == 3
    assert done == ["append tool_call", "append log", "append tool_result_applied"]


async def test_each_try_of_a_middleware_counts_and_the_event_is_written_once() -> None:
    async def twice(call: ToolCall, call_next: CallNext) -> Any:
        await call_next(call)
        return await call_next(call)

    store = CountingStore()
    done, came = await asked(store, middleware=[twice], limiter=RateLimiter(global_=TWO))
    assert (done, came) == (["admit tool_call", "append tool_result_applied"], 3)
    assert list(await store.limiter.remaining([Window("global", "global", 2, 1000)])) == [0]


@pytest.mark.parametrize(("choice", "came"), [("allow", 3), ("deny", PluginError)])
async def test_when_only_the_counting_fails_the_configured_choice_holds(
    choice: Any, came: Any
) -> None:
    store = CountingStore()
    store.fails = LimiterError("no answer")
    limiter = RateLimiter(global_=TWO, on_error=choice)
    done, got = await asked(store, limiter=limiter)
    assert done == ["admit tool_call", "append tool_result_applied"]
    assert got == came if choice == "allow" else isinstance(got, came)


async def test_what_could_not_be_recorded_is_not_called() -> None:
    store = CountingStore()
    store.fails = StoreError("out of reach")
    done, came = await asked(store, limiter=RateLimiter(global_=TWO, on_error="allow"))
    assert isinstance(came, StoreError)
    assert done == ["admit tool_call", "append tool_call", "append tool_result_applied"]


async def test_a_limiter_of_its_own_is_asked_by_itself() -> None:
    store = CountingStore()
    limiter = RateLimiter(global_=TWO, backend=MemoryLimiter())
    done, came = await asked(store, limiter=limiter)
    assert (done, came) == (["append tool_call", "append tool_result_applied"], 3)
    assert list(await store.limiter.remaining([Window("global", "global", 2, 1000)])) == [2]
