"""The suite for stores whose sessions outlive the process that runs them: leases and fences."""

from __future__ import annotations

import anyio
import pytest

from enclave_broker_core.errors import SessionLostError
from enclave_broker_core.models import SessionRecord, SessionState
from enclave_broker_core.store_abilities import LeasedStore

from .replica_suite import ReplicaSuite, Served, lasting, over, until
from .samples import ENDED_AT, draft, event, events, final

LOST = final(1, ok=False, error={"code": "SESSION_LOST", "message": "lost"})


async def _ends(served: Served, found: SessionRecord) -> None:
    """What a broker does with a session that is lost."""
    await served.store.end(found.id, draft(LOST), SessionState.FAILED, ENDED_AT)


@pytest.mark.anyio
class LeaseSuite(ReplicaSuite):
    async def test_who_creates_a_session_holds_it_and_nobody_else_writes(self) -> None:
        async with self.served(2) as (_, (one, other)):
            await one.store.create(lasting())
            assert await one.store.append("s_1", draft(event(1))) == 1
            with pytest.raises(SessionLostError):
                await other.store.append("s_1", draft(event(2)))
            with pytest.raises(SessionLostError):
                await other.store.end("s_1", draft(LOST), SessionState.FAILED, ENDED_AT)
            assert list(await one.store.read("s_1")) == events(1, 1)
            assert await one.store.append("s_1", draft(event(2))) == 2
            found = await other.store.get("s_1")
            assert (found.state, found.last_seq) == (SessionState.RUNNING, 2)

    async def test_what_a_silent_one_held_is_taken_up_once(self) -> None:
        async with self.served(3) as (backend, served):
            silent, *others = served
            assert isinstance(silent.store, LeasedStore)
            names = [f"s_{number}" for number in range(8)]
            for name in names:
                await silent.store.create(lasting(name))
                await silent.store.append(name, draft(event(1, name)))
            await backend.silence(silent.store)

            def taken() -> list[str]:
                return sorted(found.id for one in others for found in one.taken_up)

            with anyio.fail_after(self.patience):
                await until(lambda: len(taken()) >= len(names))
            await over(silent.store)
            assert taken() == names
            assert silent.taken_up == []
            for one in others:
                for found in one.taken_up:
                    assert found.last_seq == 1
                    await _ends(one, found)
            for name in names:
                kinds = [item.type for item in await silent.store.read(name)]
                assert kinds == ["stdout", "final"]

    async def test_one_that_was_silent_finds_out_and_writes_nothing_more(self) -> None:
        async with self.served(2) as (backend, (silent, other)):
            await silent.store.create(lasting())
            await silent.store.append("s_1", draft(event(1)))
            await backend.silence(silent.store)
            with anyio.fail_after(self.patience):
                await other.until(lambda: len(other.taken_up) == 1)
            with pytest.raises(SessionLostError):
                await silent.store.append("s_1", draft(event(2)))
            with pytest.raises(SessionLostError):
                await silent.store.end("s_1", draft(LOST), SessionState.FAILED, ENDED_AT)
            with anyio.fail_after(self.patience):
                await silent.until(lambda: "s_1" in silent.lost_ids)
            # Whoever took it up goes on where it was.
            assert await other.store.append("s_1", draft(event(2))) == 2
            assert list(await silent.store.read("s_1")) == events(1, 2)

    async def test_who_renews_keeps_what_it_holds(self) -> None:
        async with self.served(2) as (_, (one, other)):
            await one.store.create(lasting())
            for _ in range(3):
                await over(one.store)
            assert (other.taken_up, one.lost_ids) == ([], [])
            assert await one.store.append("s_1", draft(event(1))) == 1

    async def test_what_nobody_holds_is_taken_up_by_who_comes_next(self) -> None:
        async with self.open_backend() as backend:
            async with backend.replica() as before:
                await before.create(lasting())
                await before.append("s_1", draft(event(1)))
                await before.create(lasting("s_2"))
                await before.end("s_2", draft(final(1, "s_2")), SessionState.COMPLETED, ENDED_AT)
                await backend.silence(before)
            async with backend.replica() as store, anyio.create_task_group() as tasks:
                served = Served(store)
                tasks.start_soon(served.serve)
                with anyio.fail_after(self.patience):
                    await served.until(lambda: len(served.taken_up) > 0)
                await over(store)
                # There is nothing to do in one that has ended.
                assert [(found.id, found.last_seq) for found in served.taken_up] == [("s_1", 1)]
                assert await store.append("s_1", draft(event(2))) == 2
                served.stop_serving()

    async def test_what_could_not_be_taken_up_is_offered_again(self) -> None:
        failed: list[str] = []

        async def at_first(found: SessionRecord) -> None:
            if not failed:
                failed.append(found.id)
                raise RuntimeError("not yet")

        async with self.served(2) as (backend, (silent, other)):
            other.takes_up = at_first
            await silent.store.create(lasting())
            await backend.silence(silent.store)
            with anyio.fail_after(self.patience):
                await other.until(lambda: len(other.taken_up) == 1)
            assert failed == ["s_1"]

    async def test_who_stops_serving_gives_its_sessions_up(self) -> None:
        async with self.served(2) as (_, (one, other)):
            await one.store.create(lasting())
            one.stop_serving()
            with anyio.fail_after(self.patience):
                await other.until(lambda: len(other.taken_up) == 1)
            with pytest.raises(SessionLostError):
                await one.store.append("s_1", draft(event(1)))

    async def test_who_lost_all_goes_on_with_new_sessions(self) -> None:
        async with self.served(2) as (backend, (silent, other)):
            await other.store.create(lasting("s_2"))
            await other.store.append("s_2", draft(event(1, "s_2")))
            await backend.silence(silent.store)
            await silent.store.create(lasting())
            # It may be believed or not, but never half.
            try:
                await silent.store.append("s_1", draft(event(1)))
            except SessionLostError:
                assert list(await silent.store.read("s_1")) == []
            else:
                assert list(await silent.store.read("s_1")) == events(1, 1)
            assert await other.store.append("s_2", draft(event(2, "s_2"))) == 2
