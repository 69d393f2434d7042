"""What is special about the memory store: its bounds, and that they are cheap to keep."""

from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from enclave_broker_memory.config import MemoryStoreConfig
from enclave_broker_memory.order import CreationOrder
from enclave_broker_memory.session import StoredSession
from enclave_broker_memory.store import MemoryStore, open_store
from enclave_broker_memory.timeline import Timeline
from pydantic import ValidationError

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import SessionNotFoundError, TooManySessionsError
from enclave_broker_core.events import Event
from enclave_broker_core.models import Principal, SessionState
from enclave_broker_core.testing.samples import (
    CREATED_AT,
    ENDED_AT,
    call,
    draft,
    end,
    event,
    events,
    final,
    record,
    write,
)

pytestmark = pytest.mark.anyio


def store(**settings: Any) -> MemoryStore:
    return MemoryStore(MemoryStoreConfig(**settings))


def sized(seq: int, size: int) -> Event:
    return Event("s_1", seq, "stdout", b"x" * size)


async def test_over_max_events_the_oldest_leave_and_seq_goes_on() -> None:
    kept = store(max_events=3)
    await kept.create(record())
    await write(kept, *events(1, 5))
    assert await kept.read("s_1") == events(3, 5)
    assert await kept.read("s_1", 2, limit=1) == [event(3)]
    assert await kept.read("s_1", 4) == events(4, 5)
    await write(kept, event(6))
    assert await kept.read("s_1") == events(4, 6)
    await write(kept, *events(7, 20))
    assert await kept.read("s_1") == events(18, 20)
    await end(kept, final(21))
    assert await kept.read("s_1") == [*events(19, 20), final(21)]
    got = await kept.get("s_1")
    assert got is not None
    assert got.last_seq == 21


async def test_over_max_event_bytes_the_oldest_leave() -> None:
    kept = store(max_event_bytes=100)
    await kept.create(record())
    await write(kept, sized(1, 60), sized(2, 40))
    assert await kept.read("s_1") == [sized(1, 60), sized(2, 40)]
    await write(kept, sized(3, 1))
    assert await kept.read("s_1") == [sized(2, 40), sized(3, 1)]
    await write(kept, sized(4, 59))
    assert await kept.read("s_1") == [sized(2, 40), sized(3, 1), sized(4, 59)]


async def test_no_more_leave_than_have_to() -> None:
    kept = store(max_events=2, max_event_bytes=100)
    await kept.create(record())
    await write(kept, sized(1, 10), sized(2, 50), sized(3, 50))
    assert await kept.read("s_1") == [sized(2, 50), sized(3, 50)]


async def test_the_newest_event_stays_however_large_it_is() -> None:
    kept = store(max_event_bytes=100)
    await kept.create(record())
    await write(kept, sized(1, 10), sized(2, 20), sized(3, 1000))
    assert await kept.read("s_1") == [sized(3, 1000)]
    await write(kept, sized(4, 10))
    assert await kept.read("s_1") == [sized(4, 10)]


async def test_the_history_keeps_the_latest_calls() -> None:
    kept = store(max_calls=2)
    await kept.create(record())
    for number in range(5):
        await write(kept, event(number + 1), call=call(f"c_{number}"))
    assert await kept.history("s_1") == [call("c_3"), call("c_4")]
    got = await kept.get("s_1")
    assert got is not None
    assert got.tool_calls == 5


async def test_the_history_is_bounded_in_bytes() -> None:
    kept = store(max_call_bytes=100)
    await kept.create(record())
    for number, size in enumerate([60, 40, 1, 500]):
        given = call(f"c_{number}", arguments_json=b"x" * size)
        await write(kept, event(number + 1), call=given)
        sizes = [len(item.arguments_json) for item in await kept.history("s_1")]
        assert sizes == [[60], [60, 40], [40, 1], [500]][number]


async def test_a_reader_that_is_behind_the_oldest_kept_event_is_woken_by_the_next() -> None:
    kept = store(max_events=2)
    await kept.create(record())
    await write(kept, *events(1, 5))
    found: list[Event] = []

    async def follow() -> None:
        found.extend(await kept.read("s_1", 6, wait=3600))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await wait_all_tasks_blocked()
            await write(kept, *events(6, 9))
    assert found == events(8, 9)


async def test_a_cancelled_reader_leaves_nothing_behind() -> None:
    kept = store()
    await kept.create(record())
    for _ in range(3):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: kept.read("s_1", wait=3600))
            tasks.start_soon(lambda: kept.read("s_1", wait=3600))
            await wait_all_tasks_blocked()
            assert kept._sessions["s_1"].changed is not None
            tasks.cancel_scope.cancel()
        assert kept._sessions["s_1"].changed is None


async def test_a_reader_does_not_pass_to_the_next_session_of_its_id() -> None:
    kept = store()
    await kept.create(record())
    problems: list[Exception] = []

    async def follow() -> None:
        try:
            await kept.read("s_1", wait=3600)
        except SessionNotFoundError as problem:
            problems.append(problem)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await wait_all_tasks_blocked()
            await kept.delete("s_1")
            await kept.create(record())
            await write(kept, event(1))
    assert len(problems) == 1


async def test_only_max_ended_sessions_are_kept_the_first_that_ended_leave() -> None:
    kept = store(max_ended=2)
    for number in range(5):
        await kept.create(record(f"s_{number}"))
    for number, at in ((3, ENDED_AT), (0, ENDED_AT + 1), (4, ENDED_AT + 2), (1, ENDED_AT + 3)):
        await end(kept, final(1, f"s_{number}"), at=at)
    left = [record.id for record in await kept.list(include_ended=True)]
    assert left == ["s_1", "s_2", "s_4"]
    with pytest.raises(SessionNotFoundError):
        await kept.read("s_3")
    assert await kept.sweep(ENDED_AT + 1000) == 2


@pytest.mark.parametrize("grace", [0.0, 5.0])
async def test_the_grace_time_is_as_configured(grace: float) -> None:
    kept = store(grace=grace)
    await kept.create(record())
    await end(kept, final(1))
    assert await kept.sweep(ENDED_AT + grace) == 0
    assert await kept.sweep(ENDED_AT + grace + 0.5) == 1
    assert await kept.get("s_1") is None


async def test_retry_after_is_by_the_clock_that_it_was_given() -> None:
    kept = MemoryStore(clock=lambda: CREATED_AT)
    for id, lasts in (("s_1", 300), ("s_2", 200), ("s_3", 100)):
        await kept.create(record(id, expires_at=CREATED_AT + lasts))
    await kept.delete("s_3")
    with pytest.raises(TooManySessionsError) as refused:
        await kept.create(record("s_4"), max_open=2)
    assert refused.value.retry_after == 200


@pytest.mark.parametrize("bound", ["max_open", "max_of_principal"])
async def test_without_any_open_session_a_refusal_still_says_when(bound: str) -> None:
    with pytest.raises(TooManySessionsError) as refused:
        await store().create(record(principal=Principal(id="ada")), **{bound: 0})
    assert refused.value.retry_after is not None
    assert refused.value.retry_after > 0


async def test_an_end_says_which_state_is_none() -> None:
    kept = store()
    await kept.create(record())
    with pytest.raises(ValueError, match="'running' is not the state"):
        await kept.end("s_1", draft(final(1)), SessionState.RUNNING, ENDED_AT)
    assert await kept.get("s_1") == record()
    assert await kept.read("s_1") == []


async def test_paging_behind_an_id_that_never_was() -> None:
    with pytest.raises(SessionNotFoundError):
        await store().list(after="s_never")


async def test_nothing_is_left_of_sessions_that_have_gone() -> None:
    kept = store(max_ended=50, grace=10)
    for number in range(500):
        id = f"s_{number}"
        owner = Principal(id=f"u_{number % 7}") if number % 2 else None
        await kept.create(record(id, principal=owner))
        if number % 3 == 0:
            await kept.delete(id)
        else:
            await end(kept, final(1, id), at=ENDED_AT + number)
    assert len(kept._sessions) == 50
    assert await kept.sweep(ENDED_AT + 1000) == 50
    assert kept._sessions == {}
    assert len(kept._open.all) == len(kept._ended) == 0
    assert kept._open._of == {}
    assert list(kept._order.after(0)) == []


async def test_the_configuration_reaches_the_store() -> None:
    async with open_store(MemoryStoreConfig(max_events=1), OpenContext("store")) as kept:
        await kept.create(record())
        await write(kept, *events(1, 3))
        assert await kept.read("s_1") == [event(3)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_events": 0},
        {"max_event_bytes": 0},
        {"max_calls": 0},
        {"max_call_bytes": 0},
        {"max_ended": 0},
        {"grace": -1},
        {"max_event": 10},
    ],
)
async def test_a_wrong_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MemoryStoreConfig(**wrong)


async def test_the_order_remembers_a_bounded_number_of_deleted_sessions() -> None:
    order = CreationOrder(remembered=2)
    sessions = [StoredSession(record(f"s_{number}"), number) for number in range(1, 6)]
    for session in sessions:
        order.add(session)
    for number in (2, 3, 5):
        order.remove(sessions[number - 1])
    assert [order.number_of_deleted(f"s_{number}") for number in (1, 2, 3, 5)] == [
        None,
        None,
        3,
        5,
    ]
    assert [session.number for session in order.after(0)] == [1, 4]
    assert [session.number for session in order.after(3)] == [4]
    order.add(StoredSession(record("s_3"), 6))
    assert order.number_of_deleted("s_3") is None


async def test_a_timeline_finds_what_is_due() -> None:
    timeline = Timeline()
    for at, id in ((3.0, "c"), (1.0, "z"), (2.0, "b"), (1.0, "a")):
        timeline.add(at, id)
    assert timeline.first() == (1.0, "a")
    assert timeline.before(1.0) == []
    assert timeline.before(3.0) == ["a", "z", "b"]
    timeline.remove(1.0, "z")
    assert timeline.before(99.0) == ["a", "b", "c"]
    assert len(timeline) == 3
