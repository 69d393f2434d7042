"""Claims in memory: their bounds, their times, and that nothing stays of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from enclave_broker_memory.claims import HeldClaim, SessionClaims
from enclave_broker_memory.config import MemoryStoreConfig
from enclave_broker_memory.store import MemoryStore
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave_broker_core.errors import TooManyClaimsError
from enclave_broker_core.models import Claim
from enclave_broker_core.testing.samples import ENDED_AT, end, final, record

pytestmark = pytest.mark.anyio

NEW, PENDING, CONFLICT = Claim("new"), Claim("pending"), Claim("conflict")


class SetTimer:
    """A store's timer, which goes on when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def opened(timer: SetTimer, **settings: Any) -> MemoryStore:
    """A store with the session ``s_1``."""
    kept = MemoryStore(MemoryStoreConfig(**settings), timer=timer)
    await kept.create(record())
    return kept


async def settle(kept: MemoryStore, key: str, answer: bytes) -> None:
    assert await kept.claim("s_1", key, "f", seconds=60) == NEW
    await kept.settle("s_1", key, answer)


async def found(kept: MemoryStore, *keys: str) -> list[bytes | None]:
    """The answers of keys that were settled; those that are free stay so."""
    answers = []
    for key in keys:
        claim = await kept.claim("s_1", key, "f", seconds=60)
        answers.append(claim.answer)
        if claim == NEW:
            await kept.release("s_1", key)
    return answers


async def test_over_max_claim_bytes_the_answers_settled_first_leave() -> None:
    kept = await opened(SetTimer(), max_claim_bytes=100)
    await settle(kept, "a", b"a" * 60)
    await settle(kept, "b", b"b" * 40)
    assert await found(kept, "a", "b") == [b"a" * 60, b"b" * 40]
    await settle(kept, "c", b"c")
    assert await found(kept, "a", "b", "c") == [None, b"b" * 40, b"c"]
    await settle(kept, "d", b"d" * 500)
    assert await found(kept, "b", "c", "d") == [None, None, b"d" * 500]
    await settle(kept, "e", b"e")
    assert await found(kept, "d", "e") == [None, b"e"]


async def test_a_key_is_free_exactly_when_its_time_is_over() -> None:
    timer = SetTimer()
    kept = await opened(timer)
    assert await kept.claim("s_1", "k", "f", seconds=30) == NEW
    assert await kept.claim("s_1", "done", "f", seconds=30) == NEW
    timer.now += 20
    await kept.settle("s_1", "done", b"done")
    assert await kept.claim("s_1", "done", "f", seconds=500) == Claim("settled", b"done")
    timer.now += 9.5
    assert await kept.claim("s_1", "k", "f", seconds=500) == PENDING
    assert await kept.claim("s_1", "done", "g", seconds=500) == CONFLICT
    timer.now += 0.5
    await kept.settle("s_1", "k", b"too late")
    assert await kept.claim("s_1", "k", "g", seconds=30) == NEW
    assert await kept.claim("s_1", "done", "g", seconds=30) == NEW


async def test_a_place_is_free_when_a_time_is_over() -> None:
    timer = SetTimer()
    kept = await opened(timer, max_claims=2)
    assert await kept.claim("s_1", "a", "f", seconds=10) == NEW
    assert await kept.claim("s_1", "b", "f", seconds=20) == NEW
    with pytest.raises(TooManyClaimsError) as refused:
        await kept.claim("s_1", "c", "f", seconds=10)
    assert refused.value.retry_after == 1
    timer.now += 10
    assert await kept.claim("s_1", "c", "f", seconds=10) == NEW


async def test_who_waits_gets_the_answer_also_when_it_has_left_already() -> None:
    kept = await opened(SetTimer(), max_claims=1)
    assert await kept.claim("s_1", "k", "f", seconds=60) == NEW
    got: list[Claim] = []

    async def ask() -> None:
        got.append(await kept.claim("s_1", "k", "f", seconds=60, wait=3600))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await wait_all_tasks_blocked()
            await kept.settle("s_1", "k", b"done")
            assert await kept.claim("s_1", "other", "f", seconds=60) == NEW
    assert got == [Claim("settled", b"done")]


async def test_nothing_is_left_of_claims_that_have_gone() -> None:
    timer = SetTimer()
    kept = await opened(timer, grace=10)
    await kept.create(record("s_2"))
    for number in range(300):
        assert await kept.claim("s_1", f"k_{number}", "f", seconds=number + 1) == NEW
        assert await kept.claim("s_2", f"k_{number}", "f", seconds=60) == NEW
        if number % 3 == 0:
            await kept.settle("s_1", f"k_{number}", b"done")
        elif number % 3 == 1:
            await kept.release("s_1", f"k_{number}")
    claims = kept._claiming["s_1"]
    assert len(claims) == 200
    timer.now += 150
    await kept.sweep(ENDED_AT)
    assert len(claims) == 100
    timer.now += 150
    await kept.sweep(ENDED_AT)
    assert len(claims) == len(claims._due) == len(claims._settled) == claims._bytes == 0
    await kept.delete("s_2")
    await end(kept, final(1))
    assert await kept.sweep(ENDED_AT + 1000) == 1
    assert kept._claiming == {}


async def test_who_waits_and_is_cancelled_leaves_nothing_behind() -> None:
    kept = await opened(SetTimer())
    assert await kept.claim("s_1", "k", "f", seconds=60) == NEW
    for _ in range(3):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(lambda: kept.claim("s_1", "k", "f", seconds=60, wait=3600))
            await wait_all_tasks_blocked()
            held = kept._claiming["s_1"]._held["k"]
            assert held.over is not None
            assert held.over.statistics().tasks_waiting == 5
            tasks.cancel_scope.cancel()
        assert held.over.statistics().tasks_waiting == 0
    assert await kept.claim("s_1", "k", "f", seconds=60) == PENDING


async def test_an_answer_is_in_no_repr() -> None:
    assert "secret" not in repr(Claim("settled", b"secret"))


@pytest.mark.parametrize("wrong", [{"max_claims": 0}, {"max_claim_bytes": 0}])
async def test_a_wrong_bound_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        MemoryStoreConfig(**wrong)


@dataclass
class Held:
    """One claim in the model of all claims of a session."""

    fingerprint: str
    until: float
    answer: bytes | None = None


class Model:
    """What SessionClaims is to do, in the plainest way: everything is looked through."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most, self.most_bytes = most, most_bytes
        self.held: dict[str, Held] = {}
        self.settled: list[str] = []  # in the order in which they were

    def expire(self, now: float) -> None:
        self.held = {key: held for key, held in self.held.items() if held.until > now}
        self.settled = [key for key in self.settled if key in self.held]

    def take(self, key: str, fingerprint: str, now: float, seconds: float) -> Claim | None:
        """None for a claim that is refused."""
        self.expire(now)
        if key not in self.held:
            if len(self.held) == self.most:
                if not self.settled:
                    return None
                del self.held[self.settled.pop(0)]
            self.held[key] = Held(fingerprint, now + seconds)
            return NEW
        held = self.held[key]
        if held.fingerprint != fingerprint:
            return CONFLICT
        return PENDING if held.answer is None else Claim("settled", held.answer)

    def settle(self, key: str, answer: bytes, now: float) -> None:
        self.expire(now)
        if key in self.held and self.held[key].answer is None:
            self.held[key].answer = answer
            self.settled.append(key)
            while len(self.settled) > 1 and self.bytes() > self.most_bytes:
                del self.held[self.settled.pop(0)]

    def release(self, key: str) -> None:
        if key in self.held and self.held[key].answer is None:
            del self.held[key]

    def bytes(self) -> int:
        return sum(len(self.held[key].answer or b"") for key in self.settled)


keys, prints = st.sampled_from("abcd"), st.sampled_from("fg")
steps = st.one_of(
    st.tuples(st.just("take"), keys, prints, st.integers(1, 6)),
    st.tuples(st.just("settle"), keys, st.binary(max_size=6)),
    st.tuples(st.just("release"), keys),
    st.tuples(st.just("pass"), st.integers(1, 4)),
)


@settings(deadline=None)
@given(
    most=st.integers(1, 4),
    most_bytes=st.integers(1, 12),
    acts=st.lists(steps, min_size=20, max_size=60),
)
def test_claims_are_as_the_model_says(most: int, most_bytes: int, acts: list[Any]) -> None:
    claims, model, now = SessionClaims(most, most_bytes), Model(most, most_bytes), 0.0
    for act, *what in acts:
        if act == "pass":
            now += what[0]
        elif act == "take":
            key, fingerprint, seconds = what
            expected = model.take(key, fingerprint, now, seconds)
            if expected is None:
                with pytest.raises(TooManyClaimsError):
                    claims.take(key, fingerprint, now, seconds)
            else:
                got = claims.take(key, fingerprint, now, seconds)
                assert (PENDING if isinstance(got, HeldClaim) else got) == expected
        elif act == "settle":
            claims.settle(*what, now)
            model.settle(*what, now)
        else:
            claims.release(*what)
            model.release(*what)
        assert list(claims._held) == list(model.held)
        assert list(claims._settled) == model.settled
        assert claims._bytes == model.bytes()
        assert len(claims._due) == len(claims)
