"""The part of the store suite that is about sessions: created, found, listed, forgotten."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import partial
from typing import Any, cast

import pytest

from enclave_broker_core.errors import (
    SessionExistsError,
    SessionNotFoundError,
)
from enclave_broker_core.models import Principal, SessionLimits, SessionRecord, SessionState

from .samples import (
    CREATED_AT,
    ENDED_AT,
    at_once,
    call,
    end,
    event,
    events,
    final,
    ids,
    record,
    write,
)
from .store_suite import StoreSuite


def changeable(mapping: object) -> MutableMapping[str, Any]:
    """A mapping as a careless caller sees it."""
    return cast("MutableMapping[str, Any]", mapping)


def detailed(id: str = "s_1") -> SessionRecord:
    """A record with a value in every field."""
    return record(
        id,
        state=SessionState.STARTING,
        principal=Principal(
            id="ada", tenant="acme", roles=frozenset({"dev"}), attributes={"teams": ["core"]}
        ),
        allowed_tools=("users:*", "public:*"),
        limits=SessionLimits(timeout=30, max_tool_calls=100, cancel_on_first_error=True),
        metadata={"run": {"tags": ["a", "b"]}, "text": "ünï \x00 ☃", "no": None},
        runtime="monty",
    )


def spoil(given: SessionRecord) -> None:
    """Change all that can be changed in a record."""
    metadata = changeable(given.metadata)
    if metadata:
        metadata["run"]["tags"].append("spoiled")
    metadata["spoiled"] = True
    assert given.principal is not None
    attributes = changeable(given.principal.attributes)
    if attributes:
        attributes["teams"].append("spoiled")
    attributes["spoiled"] = True


@pytest.mark.anyio
class SessionRecordSuite(StoreSuite):
    async def test_a_session_reads_back_as_it_was_given(self) -> None:
        async with self.open_store() as store:
            await store.create(detailed())
            await store.create(record("s_plain"))
            assert await store.get("s_1") == detailed()
            assert await store.get("s_plain") == record("s_plain")

    async def test_an_unknown_session_is_none(self) -> None:
        async with self.open_store() as store:
            assert await store.get("s_unknown") is None

    async def test_an_id_that_is_taken_is_refused(self) -> None:
        async with self.open_store() as store:
            await store.create(detailed())
            with pytest.raises(SessionExistsError):
                await store.create(record())
            assert await store.get("s_1") == detailed()
            await end(store, final(1))
            with pytest.raises(SessionExistsError):
                await store.create(record())

    async def test_one_id_is_taken_once_when_two_create_at_once(self) -> None:
        async with self.open_store() as store:
            results = await at_once([partial(store.create, record())] * 2)
            refused = [result for result in results if result is not None]
            assert [type(result) for result in refused] == [SessionExistsError]
            assert ids(await store.list()) == ["s_1"]

    async def test_what_was_given_may_change_afterwards(self) -> None:
        async with self.open_store() as store:
            for id, given in (("s_1", detailed()), ("s_2", record("s_2", principal={"id": "a"}))):
                as_it_was = given.model_copy(deep=True)
                await store.create(given)
                spoil(given)
                assert await store.get(id) == as_it_was

    async def test_what_was_read_back_may_be_changed(self) -> None:
        async with self.open_store() as store:
            for given in (detailed(), record("s_2", principal={"id": "a"})):
                as_it_was = given.model_copy(deep=True)
                await store.create(given)
                got = await store.get(given.id)
                assert got is not None
                spoil(got)
                spoil((await store.list())[-1])
                assert await store.get(given.id) == as_it_was
                assert (await store.list())[-1] == as_it_was

    async def test_list_is_in_the_order_of_creation(self) -> None:
        async with self.open_store() as store:
            order = ["s_m", "s_a", "s_z", "s_b", "s_y"]
            for later, id in enumerate(order):
                await store.create(record(id, created_at=CREATED_AT + later))
            assert ids(await store.list()) == order

    async def test_list_shows_whose_and_which_sessions_are_asked_for(self) -> None:
        async with self.open_store() as store:
            ada = Principal(id="ada", tenant="acme")
            bob = Principal(id="bob", tenant="acme")
            other = Principal(id="ada", tenant="other")
            for id, principal in (("s_1", ada), ("s_2", bob), ("s_3", other), ("s_4", None)):
                await store.create(record(id, principal=principal))
            await store.create(record("s_5", principal=ada))
            await end(store, final(1, "s_5"))
            assert ids(await store.list()) == ["s_1", "s_2", "s_3", "s_4"]
            assert ids(await store.list(principal_id="ada")) == ["s_1", "s_3"]
            assert ids(await store.list(tenant="acme")) == ["s_1", "s_2"]
            assert ids(await store.list(principal_id="ada", tenant="acme")) == ["s_1"]
            assert ids(await store.list(principal_id="ad")) == []
            assert ids(await store.list(tenant="acme", include_ended=True)) == [
                "s_1",
                "s_2",
                "s_5",
            ]

    async def test_list_goes_on_page_by_page(self) -> None:
        async with self.open_store() as store:
            for number in range(7):
                await store.create(record(f"s_{number}", created_at=CREATED_AT + number))
            await end(store, final(1, "s_3"))
            assert ids(await store.list(limit=3)) == ["s_0", "s_1", "s_2"]
            assert ids(await store.list(limit=3, after="s_2")) == ["s_4", "s_5", "s_6"]
            # A page may end with a session that has ended meanwhile.
            assert ids(await store.list(limit=2, after="s_3")) == ["s_4", "s_5"]
            assert ids(await store.list(limit=2, after="s_3", include_ended=True)) == [
                "s_4",
                "s_5",
            ]
            assert ids(await store.list(limit=3, after="s_6")) == []

    async def test_paging_goes_on_behind_a_session_that_was_deleted_meanwhile(self) -> None:
        async with self.open_store() as store:
            for number in range(5):
                await store.create(record(f"s_{number}", created_at=CREATED_AT + number))
            assert ids(await store.list(limit=2)) == ["s_0", "s_1"]
            await store.delete("s_1")
            assert ids(await store.list(limit=2, after="s_1")) == ["s_2", "s_3"]

    async def test_an_ended_session_shows_its_end(self) -> None:
        async with self.open_store() as store:
            await store.create(detailed())
            await end(store, final(1), SessionState.FAILED)
            ended = detailed().model_copy(
                update={"state": SessionState.FAILED, "ended_at": ENDED_AT, "last_seq": 1}
            )
            assert await store.get("s_1") == ended
            assert list(await store.list(include_ended=True)) == [ended]

    async def test_a_session_shows_how_many_calls_it_has_made(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            for seq in (1, 2, 3):
                await write(store, event(seq), call=call(f"c_{seq}"))
            await write(store, event(4))
            assert await store.get("s_1") == record(tool_calls=3, last_seq=4)
            assert list(await store.list()) == [record(tool_calls=3, last_seq=4)]

    async def test_a_session_shows_the_seq_of_its_last_event(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await store.create(record("s_2"))
            for seq in (1, 2, 3):
                await write(store, event(seq), call=call() if seq == 2 else None)
                [one, other] = await store.list()
                assert (one.last_seq, other.last_seq) == (seq, 0)
                assert await store.get("s_1") == one
            await end(store, final(4))
            got = await store.get("s_1")
            assert got is not None
            assert got.last_seq == 4
            assert [item.last_seq for item in await store.list(include_ended=True)] == [4, 0]

    async def test_delete_forgets_all_that_belongs_to_the_session(self) -> None:
        async with self.open_store() as store:
            for id in ("s_1", "s_2"):
                await store.create(record(id))
                await write(store, *events(1, 2, id), call=call())
            assert await store.delete("s_1") is True
            assert await store.delete("s_1") is False
            assert await store.get("s_1") is None
            assert ids(await store.list()) == ["s_2"]
            with pytest.raises(SessionNotFoundError):
                await store.read("s_1")
            with pytest.raises(SessionNotFoundError):
                await store.history("s_1")
            assert list(await store.read("s_2")) == events(1, 2, "s_2")
            assert list(await store.history("s_2")) == [call()]

    async def test_an_id_can_be_used_anew_after_delete(self) -> None:
        async with self.open_store() as store:
            await store.create(record())
            await write(store, *events(1, 3), call=call())
            await end(store, final(4))
            await store.delete("s_1")
            await store.create(record())
            assert await store.get("s_1") == record()
            assert list(await store.read("s_1")) == []
            assert list(await store.history("s_1")) == []
            await write(store, event(1))
            assert await store.sweep(ENDED_AT + 2 * self.grace + 1) == 0
            assert list(await store.read("s_1")) == [event(1)]

    async def test_sweep_forgets_what_ended_longer_than_the_grace_time_ago(self) -> None:
        async with self.open_store() as store:
            for number in range(4):
                await store.create(record(f"s_{number}", expires_at=CREATED_AT + 1))
            # Not in the order of creation, nor in that of the calls.
            for number, at in ((2, ENDED_AT), (0, ENDED_AT + 50), (1, ENDED_AT + 20)):
                await end(store, final(1, f"s_{number}"), at=at)
            assert await store.sweep(ENDED_AT + self.grace - 1) == 0
            assert await store.get("s_2") is not None
            assert await store.sweep(ENDED_AT + self.grace + 21) == 2
            assert await store.sweep(ENDED_AT + self.grace + 21) == 0
            assert await store.get("s_2") is None
            assert ids(await store.list(include_ended=True)) == ["s_0", "s_3"]
            assert await store.sweep(ENDED_AT + self.grace + 51) == 1
            # What has not ended stays, however long ago its time was over.
            assert await store.sweep(ENDED_AT + 1e6) == 0
            assert ids(await store.list(include_ended=True)) == ["s_3"]
