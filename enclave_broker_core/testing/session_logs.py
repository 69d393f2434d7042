"""The part of the store suite that is about logs and histories: written, ended, kept whole."""

from __future__ import annotations

from collections.abc import MutableSequence
from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint

from enclave_broker_core.contracts import SessionStore
from enclave_broker_core.errors import SessionEndedError, SessionNotFoundError
from enclave_broker_core.events import Event
from enclave_broker_core.models import SessionState

from .samples import CREATED_AT, at_once, call, event, events, final, record
from .store_suite import StoreSuite

ENDED_AT = CREATED_AT + 100


async def written(store: SessionStore, id: str = "s_1") -> list[Event]:
    return list(await store.read(id))


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
            await store.append("s_1", odd[:2])
            await store.append("s_1", odd[2:])
            found = await written(store)
            assert [
                (item.session_id, item.seq, item.type, item.payload_json) for item in found
            ] == [(item.session_id, item.seq, item.type, item.payload_json) for item in odd]

    async def test_a_call_is_kept_with_the_events_that_came_with_it(self) -> None:
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
            await store.append("s_1", events(1, 2), call("c_9"))
            await store.append("s_1", [event(3)])
            await store.append("s_1", [event(4)], refused)
            await store.append("s_1", [], call("c_1"))
            assert list(await store.history("s_1")) == [call("c_9"), refused, call("c_1")]
            await store.append("s_1", [event(5)])
            assert await written(store) == events(1, 5)

    @pytest.mark.parametrize("seqs", [[4], [2], [1], [0], [3, 5], [3, 3], [3, 4, 6], [4, 3]])
    async def test_a_gap_is_refused_and_leaves_nothing(self, seqs: list[int]) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await store.append("s_1", events(1, 2))
            with pytest.raises(ValueError, match=r".") as refused:
                await store.append("s_1", [event(seq) for seq in seqs], call())
            assert not isinstance(refused.value, UnicodeError)
            assert await written(store) == events(1, 2)
            assert list(await store.history("s_1")) == []
            await store.append("s_1", [event(3)])
            assert await written(store) == events(1, 3)

    async def test_a_log_begins_with_one(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            for seq in (0, 2):
                with pytest.raises(ValueError, match=r"."):
                    await store.append("s_1", [event(seq)])
            await store.append("s_1", [event(1)])
            assert await written(store) == [event(1)]

    async def test_nothing_is_written_to_a_session_that_is_not_there(self) -> None:
        async with self.open_store() as store:
            with pytest.raises(SessionNotFoundError):
                await store.append("s_1", [event(1)], call())
            with pytest.raises(SessionNotFoundError):
                await store.end("s_1", final(1), SessionState.COMPLETED, ENDED_AT)
            with pytest.raises(SessionNotFoundError):
                await store.read("s_1")
            with pytest.raises(SessionNotFoundError):
                await store.history("s_1")
            assert await store.get("s_1") is None

    async def test_the_final_event_ends_the_log(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await store.append("s_1", events(1, 2), call())
            assert await store.end("s_1", final(3), SessionState.COMPLETED, ENDED_AT) is True
            for late in ([event(4)], []):
                with pytest.raises(SessionEndedError):
                    await store.append("s_1", late, call("c_late"))
            assert await written(store) == [*events(1, 2), final(3)]
            assert list(await store.history("s_1")) == [call()]

    async def test_an_ended_session_never_changes_again(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await store.end("s_1", final(1), SessionState.COMPLETED, ENDED_AT)
            as_it_ended = await store.get("s_1")
            for seq in (1, 2):
                again = final(seq, ok=False)
                assert await store.end("s_1", again, SessionState.FAILED, ENDED_AT + 9) is False
            assert await store.get("s_1") == as_it_ended
            assert await written(store) == [final(1)]

    async def test_a_final_event_that_leaves_a_gap_is_refused(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await store.append("s_1", [event(1)])
            for seq in (1, 3):
                with pytest.raises(ValueError, match=r"."):
                    await store.end("s_1", final(seq), SessionState.FAILED, ENDED_AT)
            assert await store.get("s_1") == record()
            assert await written(store) == [event(1)]

    async def test_when_two_end_at_once_one_does(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            ends = [
                (final(1, by=state.value), state, ENDED_AT + number)
                for number, state in enumerate(
                    [SessionState.COMPLETED, SessionState.CANCELLED, SessionState.FAILED]
                )
            ]
            results = await at_once([partial(store.end, "s_1", *given) for given in ends])
            assert results.count(True) == 1
            assert results.count(False) == 2
            wanted, state, at = ends[results.index(True)]
            assert await written(store) == [wanted]
            assert await store.get("s_1") == record(state=state, ended_at=at)

    async def test_when_two_write_the_same_place_one_does(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            given = [event(1, by=number) for number in range(4)]
            results = await at_once(
                [
                    partial(store.append, "s_1", [item], call(f"c_{number}"))
                    for number, item in enumerate(given)
                ]
            )
            refused = [isinstance(result, ValueError) for result in results]
            assert results.count(None) == 1
            assert refused.count(True) == 3
            winner = results.index(None)
            assert await written(store) == [given[winner]]
            assert list(await store.history("s_1")) == [call(f"c_{winner}")]

    async def test_appends_take_their_places_before_they_wait(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            async with anyio.create_task_group() as tasks:
                for seq in range(1, 9):
                    tasks.start_soon(store.append, "s_1", [event(seq)], call(f"c_{seq}"))
                    # Twice is enough on each loop for the task to have begun.
                    await checkpoint()
                    await checkpoint()
            assert await written(store) == events(1, 8)
            history = await store.history("s_1")
            assert [item.call_id for item in history] == [f"c_{seq}" for seq in range(1, 9)]

    async def test_sessions_that_write_at_once_do_not_mix(self) -> None:
        async with self.open_store() as store:
            sessions = [f"s_{number}" for number in range(5)]
            for id in sessions:
                await store.create(record(id))

            async def write(id: str) -> None:
                for seq in range(1, 16):
                    await store.append(id, [event(seq, id)], call(f"{id}_{seq}"))
                    await checkpoint()

            assert await at_once([partial(write, id) for id in sessions]) == [None] * 5
            for id in sessions:
                assert await written(store, id) == events(1, 15, id)
                history = await store.history(id)
                assert [item.call_id for item in history] == [f"{id}_{seq}" for seq in range(1, 16)]

    async def test_a_cancelled_append_is_finished_or_has_not_happened(self) -> None:
        async with self.open_store() as store:
            for steps in range(8):
                id = f"s_{steps}"
                await store.create(record(id))
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(store.append, id, events(1, 3, id), call())
                    for _ in range(steps):
                        await checkpoint()
                    tasks.cancel_scope.cancel()
                found = await written(store, id)
                history = list(await store.history(id))
                assert (found, history) in (([], []), (events(1, 3, id), [call()]))
                await store.append(id, [event(len(found) + 1, id)])

    async def test_what_was_given_and_what_was_read_are_not_shared(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            given = events(1, 3)
            await store.append("s_1", given, call())
            given.clear()
            for found in (await store.read("s_1"), await store.history("s_1")):
                if isinstance(found, MutableSequence):
                    found.clear()
            assert await written(store) == events(1, 3)
            assert list(await store.history("s_1")) == [call()]
