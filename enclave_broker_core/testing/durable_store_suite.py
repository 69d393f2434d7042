"""The suite for stores that keep the state of running code."""

from __future__ import annotations

import anyio
import pytest

from enclave_broker_core.errors import (
    SessionEndedError,
    SessionLostError,
    SessionNotFoundError,
)
from enclave_broker_core.store_abilities import Saved

from .lease_suite import LeaseSuite
from .replica_suite import lasting
from .samples import call, draft, end, event, final


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
            assert await one.store.saved("s_1") == Saved(state, {})
            assert await other.store.saved("s_1") == Saved(state, {})

    async def test_an_answer_is_kept_with_its_call_until_a_state_lets_it_go(self) -> None:
        async with self.served(1) as (_, (one,)):
            store = one.store
            await store.create(lasting())
            await store.save("s_1", b"first")
            for number in (1, 2, 3):
                done = draft(event(number))
                await store.append("s_1", done, call(f"c_{number}"), answer=b"\x00%d" % number)
            await store.append("s_1", draft(event(4)), call("c_4"))
            found = await store.saved("s_1")
            assert found == Saved(b"first", {f"c_{n}": b"\x00%d" % n for n in (1, 2, 3)})
            assert [record.call_id for record in await store.history("s_1")] == [
                f"c_{number}" for number in (1, 2, 3, 4)
            ]
            await store.save("s_1", b"second", keep=["c_2", "c_9"])
            assert await store.saved("s_1") == Saved(b"second", {"c_2": b"\x002"})
            await store.save("s_1", b"third")
            assert await store.saved("s_1") == Saved(b"third", {})

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
