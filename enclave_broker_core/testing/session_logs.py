"""The part of the store suite that is about logs and histories: written, ended, kept whole."""

from __future__ import annotations

from collections.abc import MutableSequence
from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.errors import SessionEndedError, SessionNotFoundError
from enclave_broker_core.events import Event
from enclave_broker_core.models import SessionState
from enclave_broker_core.session_store import SessionStore

from .samples import (
    CREATED_AT,
    ENDED_AT,
    at_once,
    call,
    draft,
    end,
    event,
    events,
    final,
    record,
    write,
)
from .store_suite import StoreSuite

# An append is cancelled after each number of steps, until it has been finished before.
STEPS = 40


async def written(store: SessionStore, id: str = "s_1") -> list[Event]:
    return list(await store.read(id))


async def call_ids(store: SessionStore, id: str = "s_1") -> list[str]:
    return [item.call_id for item in await store.history(id)]


async def append_by(store: SessionStore, id: str, by: int, taken: dict[int, int]) -> None:
    """Append an event and a call that say whose they are, and note who got which seq."""
    seq = await store.append(id, draft(event(0, by=by)), call(f"c_{by}"))
    assert seq not in taken
    taken[seq] = by


@pytest.mark.anyio
class SessionLogSuite(StoreSuite):
    async def test_events_read_back_in_order_as_they_were_given(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            odd = [
                event(1, type="session_init", text="ünï \x00 ☃ \u2028", deep={"list": [1, None]}),
                Event("s_1", 2, "log", b'{ "kept" :\t"byte for byte"}'),
                event(3, type="partial_result", number=1e300, big=2**70),
            ]
            await write(store, *odd)
            found = await written(store)
            assert [
                (item.session_id, item.seq, item.type, item.payload_json) for item in found
            ] == [(item.session_id, item.seq, item.type, item.payload_json) for item in odd]
            # Any tuple would be equal to an event, and a memoryview to bytes.
            assert [(type(item), type(item.payload_json)) for item in found] == [(Event, bytes)] * 3

    async def test_a_call_is_kept_with_the_event_that_came_with_it(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            refused = call(
                "c_2",
                tool="admin:drop",
                arguments_json='{"name": "ü"}'.encode(),
                outcome="refused",
                error_code="ACCESS_DENIED",
                started_at=CREATED_AT + 0.123456,
                ended_at=CREATED_AT + 0.25,
                rule="admin:*",
            )
            assert list(await store.history("s_1")) == []
            await write(store, *events(1, 2), call=call("c_9"))
            await write(store, event(3))
            await write(store, event(4), call=refused)
            await write(store, event(5), call=call("c_1"))
            found = list(await store.history("s_1"))
            assert found == [call("c_9"), refused, call("c_1")]
            assert [(type(item), type(item.arguments_json)) for item in found] == [
                (CallRecord, bytes)
            ] * 3
            await write(store, event(6))
            assert await written(store) == events(1, 6)

    async def test_places_begin_with_one_and_leave_no_gap(self) -> None:
        async with self.open_store() as store:
            for id in ("s_1", "s_2"):
                await store.create(record(id))
            places = []
            for number in range(1, 6):
                with_it = call(f"c_{number}") if number % 2 else None
                places.append(await store.append("s_1", draft(event(number)), with_it))
            assert places == [1, 2, 3, 4, 5]
            # Each session counts for itself, and what it has already does not matter.
            assert await store.append("s_2", draft(event(1, "s_2"))) == 1
            assert await store.append("s_1", draft(event(6))) == 6
            assert [item.seq for item in await store.read("s_1")] == [1, 2, 3, 4, 5, 6]
            assert [item.seq for item in await store.read("s_2")] == [1]

    async def test_the_seq_returned_is_the_seq_read_back(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            for number in range(5):
                given = event(0, type="log", number=number)
                seq = await store.append("s_1", draft(given))
                assert type(seq) is int
                assert list(await store.read("s_1", seq)) == [given._replace(seq=seq)]

    async def test_each_of_many_tasks_gets_places_of_its_own(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            writers, each = 20, 5
            taken: dict[int, int] = {}

            async def append_some(writer: int) -> None:
                for number in range(each):
                    await append_by(store, "s_1", writer * each + number, taken)
                    if writer % 2:
                        await checkpoint()

            async with anyio.create_task_group() as tasks:
                for writer in range(writers):
                    tasks.start_soon(append_some, writer)
            seqs = list(range(1, writers * each + 1))
            assert sorted(taken) == seqs
            found = await written(store)
            assert [item.seq for item in found] == seqs
            order = [taken[seq] for seq in seqs]
            assert [item.payload["by"] for item in found] == order
            assert await call_ids(store) == [f"c_{by}" for by in order]
            for writer in range(writers):
                own = [by for by in order if by // each == writer]
                assert own == sorted(own)

    async def test_appends_take_their_places_in_the_order_in_which_they_began(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            began: list[int] = []
            taken: dict[int, int] = {}

            async def append(number: int) -> None:
                # Large ones with a call and small ones without may not take equally long.
                large = number % 2 == 0
                given = event(0, by=number, text="x" * (50_000 if large else 1))
                with_it = call(f"c_{number}") if large else None
                began.append(number)
                taken[await store.append("s_1", draft(given), with_it)] = number

            async with anyio.create_task_group() as tasks:
                for number in range(12):
                    tasks.start_soon(append, number)
                    if number % 4 == 3:
                        # Those that follow begin while these are under way.
                        await checkpoint()
                        await checkpoint()
            assert taken == dict(enumerate(began, 1))
            assert [item.payload["by"] for item in await written(store)] == began
            assert await call_ids(store) == [f"c_{by}" for by in began if by % 2 == 0]

    async def test_nothing_is_written_to_a_session_that_is_not_there(self) -> None:
        async with self.open_store() as store:
            with pytest.raises(SessionNotFoundError):
                await store.append("s_1", draft(event(1)), call())
            with pytest.raises(SessionNotFoundError):
                await store.end("s_1", draft(final(1)), SessionState.COMPLETED, ENDED_AT)
            with pytest.raises(SessionNotFoundError):
                await store.read("s_1")
            with pytest.raises(SessionNotFoundError):
                await store.history("s_1")
            assert await store.get("s_1") is None
            # Nor has any of it taken a place, should there be such a session.
            await store.create(record())
            await write(store, event(1), call=call("c_2"))
            assert await written(store) == [event(1)]
            assert list(await store.history("s_1")) == [call("c_2")]
            assert await store.get("s_1") == record(tool_calls=1, last_seq=1)

    async def test_the_final_event_takes_the_next_place_and_ends_the_log(self) -> None:
        async with self.open_store() as store:
            for id in ("s_1", "s_empty"):
                await store.create(record(id))
            await write(store, *events(1, 2), call=call())
            await end(store, final(3))
            for with_it in (call("c_late"), None):
                with pytest.raises(SessionEndedError):
                    await store.append("s_1", draft(event(4)), with_it)
            assert await written(store) == [*events(1, 2), final(3)]
            assert list(await store.history("s_1")) == [call()]
            await end(store, final(1, "s_empty"))
            assert await written(store, "s_empty") == [final(1, "s_empty")]

    async def test_an_ended_session_never_changes_again(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await end(store, final(1))
            as_it_ended = await store.get("s_1")
            for late in (0, 9):
                again = draft(final(2, ok=False))
                assert await store.end("s_1", again, SessionState.FAILED, ENDED_AT + late) is False
            with pytest.raises(SessionEndedError):
                await store.append("s_1", draft(event(2)), call())
            assert await store.get("s_1") == as_it_ended
            assert await written(store) == [final(1)]

    async def test_an_end_needs_a_state_that_is_one(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await write(store, event(1))
            for state in (SessionState.STARTING, SessionState.RUNNING):
                with pytest.raises(ValueError, match=r"."):
                    await store.end("s_1", draft(final(2)), state, ENDED_AT)
            assert await store.get("s_1") == record(last_seq=1)
            await write(store, event(2))
            assert await written(store) == events(1, 2)

    async def test_when_two_end_at_once_one_does(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            ends = [
                (final(1, by=state.value), state, ENDED_AT + number)
                for number, state in enumerate(
                    [SessionState.COMPLETED, SessionState.CANCELLED, SessionState.FAILED]
                )
            ]
            results = await at_once(
                [partial(store.end, "s_1", draft(given), state, at) for given, state, at in ends]
            )
            assert results.count(True) == 1
            assert results.count(False) == 2
            wanted, state, at = ends[results.index(True)]
            assert await written(store) == [wanted]
            assert await store.get("s_1") == record(state=state, ended_at=at, last_seq=1)

    @pytest.mark.parametrize("ending", range(8))
    async def test_an_end_among_appends_is_behind_those_that_began_before_it(
        self, ending: int
    ) -> None:
        async with self.open_store() as store:
            await store.create(record())
            began: list[int] = []
            taken: dict[int, int] = {}

            async def go(number: int) -> None:
                began.append(number)
                if number == ending:
                    await end(store, final(0))
                else:
                    await append_by(store, "s_1", number, taken)

            results = await at_once([partial(go, number) for number in range(8)])
            assert {type(result) for result in results} <= {type(None), SessionEndedError}
            assert results.count(None) == len(taken) + 1
            *before, last = await written(store)
            assert last == final(len(taken) + 1)
            assert {item.seq: item.payload["by"] for item in before} == taken
            assert await call_ids(store) == [f"c_{item.payload['by']}" for item in before]
            assert set(began[: began.index(ending)]) <= set(taken.values())

    async def test_sessions_that_write_at_once_do_not_mix(self) -> None:
        async with self.open_store() as store:
            sessions = [f"s_{number}" for number in range(5)]
            for id in sessions:
                await store.create(record(id))

            async def write_all(id: str) -> None:
                for seq in range(1, 16):
                    await write(store, event(seq, id), call=call(f"{id}_{seq}"))
                    await checkpoint()

            assert await at_once([partial(write_all, id) for id in sessions]) == [None] * 5
            for id in sessions:
                assert await written(store, id) == events(1, 15, id)
                assert await call_ids(store, id) == [f"{id}_{seq}" for seq in range(1, 16)]

    async def test_a_cancelled_append_is_finished_or_has_not_happened(self) -> None:
        async with self.open_store() as store:
            for steps in range(STEPS):
                id = f"s_{steps}"
                await store.create(record(id))
                taken: dict[int, int] = {}
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(append_by, store, id, 1, taken)
                    for _ in range(steps):
                        await checkpoint()
                    over = bool(taken)
                    tasks.cancel_scope.cancel()
                found = await written(store, id)
                assert found in ([], [event(1, id, by=1)])
                count = len(found)
                assert count >= len(taken)
                assert list(await store.history(id)) == [call("c_1")] * count
                assert await store.get(id) == record(id, tool_calls=count, last_seq=count)
                await write(store, event(count + 1, id))
                if over:
                    break

    async def test_a_cancelled_append_leaves_no_gap_among_others(self) -> None:
        async with self.open_store() as store:
            for steps in range(STEPS):
                id = f"s_{steps}"
                await store.create(record(id))
                taken: dict[int, int] = {}
                async with (
                    anyio.create_task_group() as staying,
                    anyio.create_task_group() as leaving,
                ):
                    for by in (1, 2, 3, 4):
                        tasks = leaving if by % 2 == 0 else staying
                        tasks.start_soon(append_by, store, id, by, taken)
                    for _ in range(steps):
                        await checkpoint()
                    over = len(taken) == 4
                    leaving.cancel_scope.cancel()
                found = await written(store, id)
                assert [item.seq for item in found] == list(range(1, len(found) + 1))
                kept = {item.seq: item.payload["by"] for item in found}
                assert kept.items() >= taken.items()
                assert {1, 3} <= set(taken.values())
                assert await call_ids(store, id) == [f"c_{by}" for by in kept.values()]
                if over:
                    break

    async def test_what_was_read_is_not_shared(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await write(store, *events(1, 3), call=call())
            for found in (await store.read("s_1"), await store.history("s_1")):
                if isinstance(found, MutableSequence):
                    found.clear()
            assert await written(store) == events(1, 3)
            assert list(await store.history("s_1")) == [call()]
