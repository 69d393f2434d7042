"""What is asked for under one key is done once."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest

from enclave_broker_core import Broker, KeyReusedError, StillUnderWayError, idempotency
from enclave_broker_core.idempotency import Claims

pytestmark = pytest.mark.anyio


class Deed:
    """Counts how often it was done; waits for ``go`` when there is one."""

    def __init__(self, *, keep: Sequence[bool] = (True,), go: anyio.Event | None = None) -> None:
        self.done = 0
        self.begun = anyio.Event()
        self._keep = keep
        self._go = go

    async def __call__(self) -> tuple[bytes, bool]:
        self.done += 1
        self.begun.set()
        if self._go is not None:
            await self._go.wait()
        return b"%d" % self.done, self._keep[min(self.done, len(self._keep)) - 1]


async def test_the_first_answer_is_given_again() -> None:
    deed = Deed()
    async with Broker() as broker, broker.session() as session:
        claims = session.claims()
        assert await claims.once("k", b"same", deed, seconds=60) == (b"1", False)
        assert await claims.once("k", b"same", deed, seconds=60) == (b"1", True)
        with pytest.raises(KeyReusedError):
            await claims.once("k", b"another", deed, seconds=60)
        assert await claims.once("other", b"another", deed, seconds=60) == (b"2", False)
    assert deed.done == 2


async def test_those_that_come_together_get_one_answer() -> None:
    go = anyio.Event()
    deed = Deed(go=go)
    found: list[tuple[bytes, bool]] = []
    async with Broker() as broker, broker.session() as session:

        async def ask() -> None:
            found.append(await session.claims().once("k", b"same", deed, seconds=60))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
            await deed.begun.wait()
            go.set()
    assert deed.done == 1
    assert sorted(found) == [(b"1", False), *[(b"1", True)] * 4]


async def test_an_answer_that_is_not_to_be_kept_lets_the_next_one_try() -> None:
    deed = Deed(keep=[False, True])
    async with Broker() as broker, broker.session() as session:
        claims = session.claims()
        assert await claims.once("k", b"same", deed, seconds=60) == (b"1", False)
        assert await claims.once("k", b"same", deed, seconds=60) == (b"2", False)
        assert await claims.once("k", b"same", deed, seconds=60) == (b"2", True)


async def test_a_failure_and_a_cancellation_let_the_next_one_try() -> None:
    async def fail() -> tuple[bytes, bool]:
        raise ValueError("no")

    stuck = Deed(go=anyio.Event())
    async with Broker() as broker, broker.session() as session:
        claims = session.claims()
        with pytest.raises(ValueError, match="no"):
            await claims.once("k", b"same", fail, seconds=60)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: claims.once("k", b"same", stuck, seconds=60))
            await stuck.begun.wait()
            tasks.cancel_scope.cancel()
        assert await claims.once("k", b"same", Deed(), seconds=60) == (b"1", False)


async def test_who_waits_too_long_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "PATIENCE", 0.02)
    stuck = Deed(go=anyio.Event())
    async with Broker() as broker, broker.session() as session, anyio.create_task_group() as tasks:
        claims = session.claims()
        tasks.start_soon(lambda: claims.once("k", b"same", stuck, seconds=60))
        await stuck.begun.wait()
        with pytest.raises(StillUnderWayError) as told:
            await claims.once("k", b"same", stuck, seconds=60)
        assert told.value.retry_after == idempotency.LOOK
        tasks.cancel_scope.cancel()
    assert stuck.done == 1


async def test_a_key_is_used_once_in_each_session() -> None:
    async with Broker() as broker, broker.session() as one, broker.session() as other:
        first: list[Claims] = [one.claims(), other.claims()]
        assert [await claims.first("t", seconds=60) for claims in first] == [True, True]
        assert [await claims.first("t", seconds=60) for claims in first] == [False, False]
