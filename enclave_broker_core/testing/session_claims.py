"""The part of the store suite that is about claims: what is done under a key is done once."""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest

from enclave_broker_core.errors import SessionNotFoundError, TooManyClaimsError
from enclave_broker_core.models import Claim, SessionState
from enclave_broker_core.session_store import SessionStore

from .samples import ENDED_AT, draft, final, record
from .store_suite import StoreSuite

LONG = 3600.0
SHORT, SOON = 0.01, 0.05
NEW, PENDING, CONFLICT = Claim("new"), Claim("pending"), Claim("conflict")


def settled(answer: bytes) -> Claim:
    return Claim("settled", answer)


async def claim(
    store: SessionStore, key: str = "k", fingerprint: str = "f", id: str = "s_1", **how: Any
) -> Claim:
    return await store.claim(id, key, fingerprint, **({"seconds": LONG} | how))


Keys = dict[str, tuple[str, bytes | None]]
"""A model of a session's claims: key → fingerprint and answer."""


def model_claim(keys: Keys, key: str, fingerprint: str) -> Claim:
    if key not in keys:
        keys[key] = (fingerprint, None)
        return NEW
    claimed_for, answer = keys[key]
    if claimed_for != fingerprint:
        return CONFLICT
    return PENDING if answer is None else settled(answer)


def model_done(keys: Keys, key: str, answer: bytes | None) -> None:
    if key in keys and keys[key][1] is None:
        fingerprint, _ = keys.pop(key)
        if answer is not None:
            keys[key] = (fingerprint, answer)


@pytest.mark.anyio
class SessionClaimSuite(StoreSuite):
    async def test_the_first_claim_is_new_and_the_others_are_pending(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            assert await claim(store) == NEW
            with anyio.fail_after(self.patience):
                for wait in (None, 0.0, SHORT):
                    assert await claim(store, wait=wait) == PENDING
            # It is nothing that the session's record or log would show.
            assert await store.get("s_1") == record()

    async def test_what_is_settled_gives_its_answer_each_time(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            for key, answer in (("empty", b""), ("odd", b'\x00{"a": \xff}\n'), ("", b"x" * 70_000)):
                assert await claim(store, key) == NEW
                await store.settle("s_1", key, answer)
                for wait in (None, LONG):
                    with anyio.fail_after(self.patience):
                        found = await claim(store, key, wait=wait)
                    assert found == settled(answer)
                    assert type(found.answer) is bytes

    async def test_another_fingerprint_is_a_conflict_at_once(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            assert await claim(store, fingerprint="one") == NEW
            with anyio.fail_after(self.patience):
                for wait in (None, LONG):
                    assert await claim(store, fingerprint="other", wait=wait) == CONFLICT
                assert await claim(store, fingerprint="") == CONFLICT
                assert await claim(store, fingerprint="one") == PENDING
                await store.settle("s_1", "k", b"done")
                for wait in (None, LONG):
                    assert await claim(store, fingerprint="other", wait=wait) == CONFLICT
                assert await claim(store, fingerprint="one") == settled(b"done")

    async def test_a_key_is_one_of_its_session(self) -> None:
        async with self.open_store() as store:
            for id in ("s_1", "s_2"):
                await store.create(record(id))
            keys = ["k", "K", "k:1", "s_2", "k\x00", "ü ☃", "k" * 256]
            for key in keys:
                assert await claim(store, key) == NEW
                assert await claim(store, key, "other", "s_2") == NEW
            await store.settle("s_1", "k", b"one")
            await store.release("s_2", "K")
            assert await claim(store) == settled(b"one")
            assert await claim(store, "k", "other", "s_2") == PENDING
            for key in keys[1:]:
                assert await claim(store, key) == PENDING

    async def test_a_released_key_is_free_for_any_request(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            assert await claim(store, fingerprint="one") == NEW
            await store.release("s_1", "k")
            assert await claim(store, fingerprint="other") == NEW
            assert await claim(store, fingerprint="one") == CONFLICT
            assert await claim(store, fingerprint="other") == PENDING

    async def test_a_key_is_in_use_for_its_time_however_often_it_is_claimed(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            with anyio.fail_after(self.patience):
                assert await claim(store, "long") == NEW
                assert await claim(store, "done") == NEW
                await store.settle("s_1", "done", b"done")
                for key in ("long", "done"):
                    assert await claim(store, key, seconds=SHORT) != NEW
                # Its time ends while this one waits, and so has the time of those above.
                assert await claim(store, seconds=2 * SHORT) == NEW
                assert await claim(store, wait=LONG) == NEW
                assert await claim(store, "long") == PENDING
                assert await claim(store, "done") == settled(b"done")

    async def test_an_answer_is_kept_until_the_time_of_its_claim_ends(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            assert await claim(store, fingerprint="one", seconds=SOON) == NEW
            await store.settle("s_1", "k", b"done")
            seen = set()
            with anyio.fail_after(self.patience):
                while (found := await claim(store, fingerprint="one")) != NEW:
                    seen.add(found)
                    await anyio.sleep(SHORT / 10)
            assert seen <= {settled(b"done")}
            assert await claim(store, fingerprint="one") == PENDING

    async def test_the_first_answer_stays(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            assert await claim(store) == NEW
            await store.settle("s_1", "k", b"first")
            await store.settle("s_1", "k", b"second")
            await store.release("s_1", "k")
            assert await claim(store) == settled(b"first")

    async def test_what_was_not_claimed_is_neither_settled_nor_released(self) -> None:
        async with self.open_store() as store:
            await store.settle("s_1", "k", b"done")
            await store.release("s_1", "k")
            await store.create(record())
            await store.settle("s_1", "k", b"done")
            await store.release("s_1", "k")
            assert await claim(store) == NEW
            await store.release("s_1", "k")
            await store.settle("s_1", "k", b"done")
            assert await claim(store) == NEW

    async def test_an_unknown_session_has_no_claims(self) -> None:
        async with self.open_store() as store:
            for wait in (None, LONG):
                with pytest.raises(SessionNotFoundError):
                    await claim(store, wait=wait)
            await store.create(record())
            assert await claim(store) == NEW

    async def test_a_full_session_lets_go_what_was_settled_first(self) -> None:
        most = self.max_claims
        if most is None:
            pytest.skip("max_claims does not say how many claims the store keeps")
        async with self.open_store() as store:
            await store.create(record())
            await store.create(record("s_2"))
            for number in range(most):
                assert await claim(store, f"k_{number}") == NEW
            with pytest.raises(TooManyClaimsError) as refused:
                await claim(store)
            assert refused.value.retryable
            assert (refused.value.retry_after or 0) > 0
            assert await claim(store, id="s_2") == NEW
            assert await claim(store, "k_0") == PENDING
            # Those in the middle, so that it is not simply the oldest that leaves.
            for number in (1, 2):
                await store.settle("s_1", f"k_{number}", b"done")
            assert await claim(store, "more") == NEW
            assert await claim(store, "k_2") == settled(b"done")
            assert await claim(store, "k_1") == NEW
            assert await claim(store, "k_0") == PENDING
            with pytest.raises(TooManyClaimsError):
                await claim(store, "k_2")
            await store.release("s_1", "k_0")
            assert await claim(store, "k_2", "other") == NEW

    @pytest.mark.parametrize("seed", range(6))
    async def test_claims_are_as_a_model_of_them(self, seed: int) -> None:
        chosen = random.Random(seed)  # noqa: S311 -- to be had again
        acts = ["claim"] * 9 + ["settle", "settle", "release", "release", "end", "delete"]
        async with self.open_store() as store:
            sessions: dict[str, Keys] = {}
            for step in range(200):
                act, id = chosen.choice(acts), chosen.choice(["s_1", "s_2"])
                key, by = chosen.choice("abc"), chosen.choice("fg")
                if id not in sessions:
                    await store.create(record(id))
                    sessions[id] = {}
                keys = sessions[id]
                if act == "claim":
                    assert await claim(store, key, by, id) == model_claim(keys, key, by)
                elif act == "end":
                    await store.end(id, draft(final(1, id)), SessionState.COMPLETED, ENDED_AT)
                elif act == "delete":
                    await store.delete(id)
                    del sessions[id]
                else:
                    answer = b"%d" % step if act == "settle" else None
                    if answer is None:
                        await store.release(id, key)
                    else:
                        await store.settle(id, key, answer)
                    model_done(keys, key, answer)
