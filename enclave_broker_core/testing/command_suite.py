"""The suite for stores that several processes share: commands, readers, claims and bounds."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from enclave_broker_core.errors import (
    SessionEndedError,
    SessionLostError,
    SessionNotFoundError,
    TooManySessionsError,
)
from enclave_broker_core.models import Principal, SessionRecord, SessionState

from .lease_suite import LeaseSuite
from .replica_suite import Served, lasting, until
from .samples import ENDED_AT, at_once, draft, end, event, events, final, ids


class Holding:
    """Holds up the commands until ``go``; knows how many it began and which were cancelled."""

    def __init__(self, served: Served) -> None:
        self.go = anyio.Event()
        self.cancelled: list[bytes] = []
        self._served = served
        served.acts = self.act

    async def act(self, session_id: str, body: bytes) -> bytes:
        try:
            await self.go.wait()
        except BaseException:
            self.cancelled.append(body)
            raise
        return b"went on: " + body


@pytest.mark.anyio
class SharedStoreSuite(LeaseSuite):
    """Every sentence of LeasedStore and SharedStore as a test.

    Subclass it as ``class TestMyStore(SharedStoreSuite)`` and override ``open_backend``.
    """

    async def test_says_that_it_is_shared(self) -> None:
        async with self.open_replicas(1) as (_, (store,)):
            assert store.shared is True

    async def test_a_command_from_anywhere_reaches_the_holder(self) -> None:
        async with self.served(3) as (_, (one, other, third)):
            await one.store.create(lasting())
            await other.store.create(lasting("s_2"))
            with anyio.fail_after(self.patience):
                assert await other.store.ask("s_1", b"a") == b"done: a"
                assert await third.store.ask("s_1", b"\x00\xff") == b"done: \x00\xff"
                assert await one.store.ask("s_1", b"own") == b"done: own"
                assert await third.store.ask("s_2", b"b") == b"done: b"
            assert one.commands == [("s_1", b"a"), ("s_1", b"\x00\xff"), ("s_1", b"own")]
            assert (other.commands, third.commands) == ([("s_2", b"b")], [])

    async def test_large_ones_arrive_whole(self) -> None:
        async with self.served(2) as (_, (one, other)):
            await one.store.create(lasting())
            body = bytes(range(256)) * 8192
            with anyio.fail_after(self.patience):
                assert await other.store.ask("s_1", body) == b"done: " + body

    async def test_each_is_begun_once_and_in_its_askers_order(self) -> None:
        async with self.served(3) as (_, (one, *askers)):
            await one.store.create(lasting())
            answered: list[bytes] = []

            async def ask(by: Served, name: str) -> None:
                async with anyio.create_task_group() as tasks:
                    for number in range(40):
                        body = f"{name} {number}".encode()
                        sent = anyio.Event()
                        tasks.start_soon(keep, by, body, sent)
                        await sent.wait()

            async def keep(by: Served, body: bytes, sent: anyio.Event) -> None:
                sent.set()
                assert await by.store.ask("s_1", body) == b"done: " + body
                answered.append(body)

            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    for by, name in zip(askers, "ab", strict=True):
                        tasks.start_soon(ask, by, name)
            begun = [body for _, body in one.commands]
            for name in "ab":
                mine = [body for body in begun if body.startswith(name.encode())]
                assert mine == [f"{name} {number}".encode() for number in range(40)]
            assert sorted(answered) == sorted(begun)

    async def test_a_slow_one_holds_no_other_up(self) -> None:
        async with self.served(2) as (_, (one, other)):
            await one.store.create(lasting())
            await one.store.create(lasting("s_2"))
            holding = Holding(one)
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(other.store.ask, "s_1", b"slow")
                    tasks.start_soon(other.store.ask, "s_1", b"slow too")
                    tasks.start_soon(other.store.ask, "s_2", b"elsewhere")
                    await one.until(lambda: len(one.commands) == 3)
                    holding.go.set()

    async def test_who_stops_asking_stops_what_was_begun(self) -> None:
        async with self.served(2) as (_, (one, other)):
            await one.store.create(lasting())
            holding = Holding(one)
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(other.store.ask, "s_1", b"withdrawn")
                    await one.until(lambda: len(one.commands) == 1)
                    tasks.cancel_scope.cancel()
                await until(lambda: holding.cancelled == [b"withdrawn"])

    async def test_of_a_session_that_is_unknown_or_has_ended(self) -> None:
        async with self.served(2) as (_, (one, other)):
            with pytest.raises(SessionNotFoundError):
                await other.store.ask("s_none", b"a")
            await one.store.create(lasting())
            await end(one.store, final(1))
            with pytest.raises(SessionEndedError):
                await other.store.ask("s_1", b"a")
            assert one.commands == []

    async def test_one_that_ends_its_session_is_answered(self) -> None:
        async with self.served(2) as (_, (one, other)):
            await one.store.create(lasting())

            async def ends(session_id: str, body: bytes) -> bytes:
                await end(one.store, final(1))
                return b"ended"

            one.acts = ends
            with anyio.fail_after(self.patience):
                assert await other.store.ask("s_1", b"end") == b"ended"

    async def test_they_go_to_who_took_the_session_up(self) -> None:
        async with self.served(3) as (backend, (silent, *others)):
            await silent.store.create(lasting())
            with anyio.fail_after(self.patience):
                for one in others:
                    assert await one.store.ask("s_1", b"a") == b"done: a"
                await backend.silence(silent.store)
                await until(lambda: any(one.taken_up for one in others))
                for one in others:
                    assert await one.store.ask("s_1", b"b") == b"done: b"
            assert silent.commands == [("s_1", b"a")] * 2
            for one in others:
                assert one.commands == [("s_1", b"b")] * (2 if one.taken_up else 0)

    async def test_what_its_holder_had_in_hand_is_lost_and_said_so(self) -> None:
        async with self.served(2) as (backend, (silent, other)):
            await silent.store.create(lasting())
            Holding(silent)

            async def ends(found: SessionRecord) -> None:
                lost = final(1, ok=False)
                await other.store.end(found.id, draft(lost), SessionState.FAILED, ENDED_AT)

            other.takes_up = ends
            problems: list[Exception] = []

            async def ask() -> None:
                try:
                    await other.store.ask("s_1", b"in hand")
                except Exception as problem:
                    problems.append(problem)

            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ask)
                    await silent.until(lambda: len(silent.commands) == 1)
                    await backend.silence(silent.store)
            assert [type(problem) for problem in problems] == [SessionLostError]
            assert other.commands == []

    async def test_a_reader_elsewhere_is_woken(self) -> None:
        async with self.served(2) as (_, (one, other)):
            await one.store.create(lasting())
            got: list[list[object]] = []

            async def follow() -> None:
                seen = 0
                while seen < 20:
                    batch = await other.store.read("s_1", seen + 1, wait=self.patience)
                    got.append(list(batch))
                    seen += len(batch)

            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(follow)
                    tasks.start_soon(follow)
                    for number in range(1, 21):
                        await one.store.append("s_1", draft(event(number)))
            seen = [item for batch in got for item in batch]
            assert sorted(seen, key=lambda item: item.seq) == [  # type: ignore[attr-defined]
                item for item in events(1, 20) for _ in range(2)
            ]

    async def test_bounds_hold_for_all_replicas_together(self) -> None:
        async with self.served(3) as (_, served):
            ann = Principal(id="ann")

            async def create(number: int, **bounds: int) -> None:
                store = served[number % 3].store
                await store.create(lasting(f"s_{number}", principal=ann), **bounds)

            made = await at_once([partial(create, number, max_open=7) for number in range(20)])
            assert made.count(None) == 7
            assert {type(one) for one in made} == {type(None), TooManySessionsError}
            kept = await served[0].store.list()
            assert len(kept) == 7
            more = [partial(create, number, max_of_principal=9) for number in range(20, 30)]
            made = await at_once(more)
            assert made.count(None) == 2
            holder = served[int(kept[0].id[2:]) % 3].store
            await end(holder, final(1, kept[0].id))
            assert await at_once([partial(create, 40, max_open=9)]) == [None]

    async def test_a_key_is_claimed_once_by_all_replicas_together(self) -> None:
        async with self.served(3) as (_, served):
            await served[0].store.create(lasting())

            async def claim(number: int, wait: float | None = None) -> str:
                store = served[number % 3].store
                got = await store.claim("s_1", "k", "f", seconds=100, wait=wait)
                return str(got.state)

            states = await at_once([partial(claim, number) for number in range(12)])
            assert sorted(map(str, states)) == ["new"] + ["pending"] * 11
            with anyio.fail_after(self.patience):
                async with anyio.create_task_group() as tasks:
                    waiting: list[str] = []

                    async def wait() -> None:
                        waiting.append(await claim(1, self.patience))

                    tasks.start_soon(wait)
                    await served[2].store.settle("s_1", "k", b"answer")
            assert waiting == ["settled"]

    async def test_all_see_the_same_sessions_and_history(self) -> None:
        async with self.served(2) as (_, (one, other)):
            await one.store.create(lasting())
            await other.store.create(lasting("s_2"))
            assert ids(await one.store.list()) == ids(await other.store.list()) == ["s_1", "s_2"]
            assert await other.store.delete("s_1")
            assert await one.store.get("s_1") is None
            with pytest.raises(SessionNotFoundError):
                await one.store.append("s_1", draft(event(1)))
