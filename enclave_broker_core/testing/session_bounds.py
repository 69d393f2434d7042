"""The part of the store suite that is about how many sessions may be open."""

from __future__ import annotations

import time
from functools import partial

import pytest

from enclave_broker_core.errors import SessionExistsError, TooManySessionsError
from enclave_broker_core.models import Principal, SessionRecord

from .samples import CREATED_AT, at_once, end, final, ids, record
from .store_suite import StoreSuite

ADA = Principal(id="ada", tenant="acme")


def owned(id: str, principal: Principal | None = ADA, lasts: float = 3600.0) -> SessionRecord:
    """A session of a principal's that expires in so many seconds from now."""
    now = time.time()
    return record(id, principal=principal, created_at=now, expires_at=now + lasts)


@pytest.mark.anyio
class SessionBoundSuite(StoreSuite):
    async def test_max_open_counts_the_sessions_that_have_not_ended(self) -> None:
        async with self.open_store() as store:
            await store.create(record("s_1"), max_open=2)
            await store.create(record("s_2"), max_open=2)
            with pytest.raises(TooManySessionsError):
                await store.create(record("s_3"), max_open=2)
            assert await store.get("s_3") is None
            await end(store, final(1))
            await store.create(record("s_3"), max_open=2)
            with pytest.raises(TooManySessionsError):
                await store.create(record("s_4"), max_open=2)
            await store.delete("s_2")
            await store.create(record("s_4"), max_open=2)
            await store.create(record("s_5"), max_open=None)
            assert ids(await store.list()) == ["s_3", "s_4", "s_5"]

    async def test_max_open_holds_when_many_create_at_once(self) -> None:
        async with self.open_store() as store:
            results = await at_once(
                [partial(store.create, record(f"s_{n}"), max_open=4) for n in range(12)]
            )
            refused = [result for result in results if result is not None]
            assert [type(result) for result in refused] == [TooManySessionsError] * 8
            assert len(await store.list()) == 4

    async def test_a_refusal_says_when_the_next_session_expires(self) -> None:
        async with self.open_store() as store:
            now = time.time()
            for id, lasts in (("s_ended", 60), ("s_long", 1800), ("s_next", 900)):
                await store.create(record(id, created_at=now, expires_at=now + lasts))
            await end(store, final(1, "s_ended"))
            with pytest.raises(TooManySessionsError) as refused:
                await store.create(record("s_more"), max_open=2)
            # Room for a slow machine: the sessions beside it are further away than that.
            assert refused.value.retry_after is not None
            assert 450 < refused.value.retry_after <= 900

    async def test_a_refusal_never_says_to_come_back_in_the_past(self) -> None:
        async with self.open_store() as store:
            await store.create(record("s_1", principal=ADA, expires_at=CREATED_AT + 1))
            for bounds in ({"max_open": 1}, {"max_of_principal": 1}):
                with pytest.raises(TooManySessionsError) as refused:
                    await store.create(record("s_2", principal=ADA), **bounds)
                assert refused.value.retry_after is not None
                assert refused.value.retry_after > 0

    async def test_max_of_principal_counts_its_sessions_that_have_not_ended(self) -> None:
        async with self.open_store() as store:
            await store.create(owned("s_1"))
            await store.create(owned("s_2"), max_of_principal=2)
            with pytest.raises(TooManySessionsError):
                await store.create(owned("s_3"), max_of_principal=2)
            assert await store.get("s_3") is None
            await end(store, final(1))
            await store.create(owned("s_3"), max_of_principal=2)
            with pytest.raises(TooManySessionsError):
                await store.create(owned("s_4"), max_of_principal=2)
            await store.delete("s_2")
            await store.create(owned("s_4"), max_of_principal=2)
            await store.create(owned("s_5"))
            assert ids(await store.list()) == ["s_3", "s_4", "s_5"]
            # To forget an ended one makes no room, for it took none.
            await store.delete("s_1")
            with pytest.raises(TooManySessionsError):
                await store.create(owned("s_6"), max_of_principal=3)

    async def test_max_of_principal_holds_when_many_create_at_once(self) -> None:
        async with self.open_store() as store:
            bob = Principal(id="bob", tenant="acme")
            given = [owned(f"s_{n}", bob if n % 3 == 0 else ADA) for n in range(12)]
            results = await at_once(
                [partial(store.create, item, max_of_principal=3) for item in given]
            )
            refused = [result for result in results if result is not None]
            assert [type(result) for result in refused] == [TooManySessionsError] * 6
            assert len(await store.list(principal_id="ada")) == 3
            assert len(await store.list(principal_id="bob")) == 3

    async def test_a_principal_is_an_id_and_a_tenant(self) -> None:
        async with self.open_store() as store:
            others = [
                Principal(id="ada", tenant="other"),
                Principal(id="ada"),
                Principal(id="bob", tenant="acme"),
                Principal(id="acme", tenant="ada"),
            ]
            for number, principal in enumerate([ADA, *others]):
                await store.create(owned(f"s_{number}", principal), max_of_principal=1)
            # Who it is does not depend on what is known of it besides.
            known = Principal(id="ada", tenant="acme", roles=frozenset({"dev"}))
            for number, principal in enumerate([known, *others]):
                with pytest.raises(TooManySessionsError):
                    await store.create(owned(f"s_more_{number}", principal), max_of_principal=1)

    async def test_max_of_principal_does_not_bound_sessions_without_a_principal(self) -> None:
        async with self.open_store() as store:
            for number in range(3):
                await store.create(owned(f"s_{number}", None), max_of_principal=1)
            with pytest.raises(TooManySessionsError):
                await store.create(owned("s_3", None), max_open=3, max_of_principal=1)

    async def test_a_refused_principal_is_told_when_its_own_next_session_expires(self) -> None:
        async with self.open_store() as store:
            bob = Principal(id="bob")
            await store.create(owned("s_bob", bob, lasts=60))
            for id, lasts in (("s_ended", 60), ("s_long", 1800), ("s_next", 900)):
                await store.create(owned(id, lasts=lasts))
            await end(store, final(1, "s_ended"))
            with pytest.raises(TooManySessionsError) as refused:
                await store.create(owned("s_more"), max_of_principal=2)
            assert refused.value.retry_after is not None
            assert 450 < refused.value.retry_after <= 900

    async def test_a_refusal_says_whose_bound_it_is(self) -> None:
        async with self.open_store() as store:
            await store.create(owned("s_1"))
            with pytest.raises(TooManySessionsError) as refused:
                await store.create(owned("s_2"), max_open=2, max_of_principal=1)
            assert "ada" in refused.value.message
            with pytest.raises(TooManySessionsError) as refused:
                await store.create(owned("s_2"), max_open=1, max_of_principal=2)
            assert "ada" not in refused.value.message

    async def test_who_is_refused_takes_no_place(self) -> None:
        async with self.open_store() as store:
            await store.create(owned("s_1"), max_of_principal=2)
            for _ in range(3):
                with pytest.raises(TooManySessionsError):
                    await store.create(owned("s_2"), max_open=1, max_of_principal=2)
                with pytest.raises(SessionExistsError):
                    await store.create(owned("s_1"), max_open=9, max_of_principal=2)
            await store.create(owned("s_2"), max_open=2, max_of_principal=2)
            assert ids(await store.list()) == ["s_1", "s_2"]
