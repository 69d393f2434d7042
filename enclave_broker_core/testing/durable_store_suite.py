"""The suite for stores that keep the state of running code."""

from __future__ import annotations

from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint

from enclave_broker_core.errors import (
    SessionEndedError,
    SessionLostError,
    SessionNotFoundError,
)
from enclave_broker_core.store_abilities import Saved

from .lease_suite import LeaseSuite
from .replica_suite import lasting
from .samples import at_once, call, draft, end, event, final

# An append is cancelled after each number of steps, until it has been finished before.
STEPS = 40


@pytest.mark.anyio
class DurableStoreSuite(LeaseSuite):
    """Every sentence of LeasedStore and DurableStore as a test.

    Subclass it as ``class TestMyStore(DurableStoreSuite)`` and override ``open_backend``.
    """

    async def test_nothing_is_saved_at_first(self) -> None:
        async with self.served(1) as (_, (one,)):
            await one.store.create(lasting())
            assert await one.store.saved("s_1") is None
            with pytest.raises(SessionNotFoundError):
                await one.store.saved("s_none")
            with pytest.raises(SessionNotFoundError):
                await one.store.save("s_none", b"state")

    async def test_the_last_state_is_read_back_byte_for_byte(self) -> None:
        async with self.served(2) as (_, (one, other)):
            await one.store.create(lasting())
            await one.store.save("s_1", b"first")
            state = bytes(range(256)) * 4096
            await one.store.save("s_1", state)
            for store in (one.store, other.store):
                found = await store.saved("s_1")
                assert found == Saved(state, {})
                # A memoryview would be equal to it.
                assert type(found.state) is bytes
            await one.store.save("s_1", b"")
            assert await other.store.saved("s_1") == Saved(b"", {})

    async def test_an_answer_is_kept_with_its_call_until_a_state_lets_it_go(self) -> None:
        async with self.served(2) as (_, (one, other)):
            store = one.store
            await store.create(lasting())
            await store.save("s_1", b"first")
            answers = {"c_1": b"\x00\xff", "c_2": b"", "c_3": b"3"}
            for number, (name, answer) in enumerate(answers.items(), 1):
                await store.append("s_1", draft(event(number)), call(name), answer=answer)
            await store.append("s_1", draft(event(4)), call("c_4"))
            for any_one in (store, other.store):
                found = await any_one.saved("s_1")
                assert found == Saved(b"first", answers)
                assert [type(answer) for answer in found.answers.values()] == [bytes] * 3
            assert [record.call_id for record in await store.history("s_1")] == [
                f"c_{number}" for number in (1, 2, 3, 4)
            ]
            await store.save("s_1", b"second", keep=["c_2", "c_9"])
            assert await store.saved("s_1") == Saved(b"second", {"c_2": b""})
            await store.save("s_1", b"third")
            assert await other.store.saved("s_1") == Saved(b"third", {})

    async def test_a_state_has_its_place_among_the_appends(self) -> None:
        async with self.served(1) as (_, (one,)):
            await one.store.create(lasting())
            kept: set[str] = set()

            async def write(number: int) -> None:
                if number == 2:
                    kept.clear()
                    await one.store.save("s_1", b"state")
                else:
                    name = f"c_{number}"
                    kept.add(name)
                    await one.store.append("s_1", draft(event(1)), call(name), answer=b"a")

            # Of the answers, those are there whose appends began after it.
            for _ in range(3):
                assert await at_once([partial(write, number) for number in range(5)]) == [None] * 5
                found = await one.store.saved("s_1")
                assert set(found.answers) == kept

    async def test_a_cancelled_append_is_there_with_its_answer_or_not_at_all(self) -> None:
        async with self.served(1) as (_, (one,)):
            for steps in range(STEPS):
                name = f"s_{steps}"
                await one.store.create(lasting(name))
                await one.store.save(name, b"state")
                done = False

                async def append(name: str = name) -> None:
                    nonlocal done
                    await one.store.append(name, draft(event(1, name)), call(), answer=b"a")
                    done = True

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(append)
                    for _ in range(steps):
                        await checkpoint()
                    over = done
                    tasks.cancel_scope.cancel()
                found = await one.store.saved(name)
                written = list(await one.store.read(name))
                assert (written, found.answers) in (
                    ([], {}),
                    ([event(1, name)], {"c_1": b"a"}),
                )
                assert written or not done
                if over:
                    break

    async def test_nothing_is_left_of_a_deleted_session(self) -> None:
        async with self.served(2) as (_, (one, other)):
            await one.store.create(lasting())
            await one.store.save("s_1", b"state")
            await one.store.append("s_1", draft(event(1)), call(), answer=b"a")
            assert await one.store.delete("s_1")
            with pytest.raises(SessionNotFoundError):
                await one.store.saved("s_1")
            # Nor does it come back with another session of that id.
            await other.store.create(lasting())
            assert await one.store.saved("s_1") is None
            await other.store.save("s_1", b"new", keep=["c_1"])
            assert await one.store.saved("s_1") == Saved(b"new", {})

    async def test_an_ended_session_has_no_state(self) -> None:
        async with self.served(1) as (_, (one,)):
            await one.store.create(lasting())
            await one.store.save("s_1", b"state")
            await end(one.store, final(1))
            assert await one.store.saved("s_1") is None
            with pytest.raises(SessionEndedError):
                await one.store.save("s_1", b"late")
            with pytest.raises(SessionEndedError):
                await one.store.append("s_1", draft(event(2)), call(), answer=b"late")

    async def test_who_lost_the_session_saves_nothing(self) -> None:
        async with self.served(2) as (backend, (silent, other)):
            await silent.store.create(lasting())
            await silent.store.save("s_1", b"state")
            await backend.silence(silent.store)
            with anyio.fail_after(self.patience):
                await other.until(lambda: len(other.taken_up) == 1)
            with pytest.raises(SessionLostError):
                await silent.store.save("s_1", b"too late")
            with pytest.raises(SessionLostError):
                await silent.store.append("s_1", draft(event(1)), call(), answer=b"too late")
            assert await other.store.saved("s_1") == Saved(b"state", {})
            await other.store.save("s_1", b"gone on")
            assert await silent.store.saved("s_1") == Saved(b"gone on", {})
