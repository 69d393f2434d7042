"""Seats: one session each, whoever comes first, and no more of them than there may be."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from enclave_broker_mcp.serving.bodies import RefusedError
from enclave_broker_mcp.serving.seating import Seating
from enclave_broker_mcp.serving.seats import Seat
from enclave_broker_mcp.serving.settings import HttpConfig
from mcp_served import ADA, PATIENCE, add_tools, direct

from enclave_broker_core import Broker, Principal, SessionLimits
from enclave_broker_core.errors import SessionEndedError

pytestmark = pytest.mark.anyio
BOB = Principal(id="bob")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_calls_at_once_open_one_session() -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, direct(broker) as client, anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(client.call_tool, "say", {})
        await client.call_tool("say", {})
        assert len(await broker.list_sessions(include_ended=True)) == 1


@pytest.mark.parametrize(("idle", "expected"), [(None, 60), (30, 30), (90, 60)])
async def test_a_session_is_idle_no_longer_than_either_allows(
    idle: float | None, expected: float
) -> None:
    async with Broker(limits=SessionLimits(idle_timeout=idle)) as broker:
        seat = Seat(HttpConfig(idle_timeout=60))
        session = await seat.session(broker, ADA, {})
        assert session.limits.idle_timeout == expected
        await seat.close()


async def test_a_closed_seat_opens_nothing() -> None:
    async with Broker() as broker:
        seat = Seat(HttpConfig())
        session = await seat.session(broker, ADA, {})
        await seat.close()
        assert session.has_ended
        with pytest.raises(SessionEndedError, match="the MCP session has ended"):
            await seat.session(broker, ADA, {})
        assert broker.stats().open_sessions == 0


async def test_what_is_opened_while_the_seat_is_closed_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Broker() as broker:
        seat, create = Seat(HttpConfig()), broker.create_session
        closing = anyio.Event()

        async def slow(**options: Any) -> Any:
            session = await create(**options)
            closing.set()
            await anyio.wait_all_tasks_blocked()
            return session

        async def close() -> None:
            await closing.wait()
            await seat.close()

        monkeypatch.setattr(broker, "create_session", slow)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(close)
                with pytest.raises(SessionEndedError):
                    await seat.session(broker, ADA, {})
        assert broker.stats().open_sessions == 0


async def test_quiet_is_when_nothing_is_held() -> None:
    seat, quiet = Seat(HttpConfig()), anyio.Event()

    async def wait() -> None:
        await seat.when_quiet()
        quiet.set()

    async with anyio.create_task_group() as tasks:
        with seat.held():
            with seat.called():
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
            await anyio.wait_all_tasks_blocked()
            assert not quiet.is_set()
        with anyio.fail_after(PATIENCE):
            await quiet.wait()


async def test_a_principal_without_sessions_has_a_seat_for_what_it_may_do() -> None:
    seating = Seating(HttpConfig())
    ada = seating.of_principal(Principal(id="ada", roles=frozenset({"a", "b"})), {})
    assert seating.of_principal(Principal(id="ada", roles=frozenset({"b", "a"})), {}) is ada
    others = (
        Principal(id="ada"),
        Principal(id="ada", roles=frozenset({"a", "b"}), tenant="acme"),
        Principal(id="ada", roles=frozenset({"a", "b"}), attributes={"team": 1}),
        Principal(id="ada", roles=frozenset({"a", "b"}), authenticated=False),
    )
    assert len({ada, *(seating.of_principal(other, {}) for other in others)}) == 5


async def test_seats_that_are_not_used_make_room() -> None:
    async with Broker() as broker:
        seating = Seating(HttpConfig(max_sessions=1))
        seat = seating.of_principal(ADA, {})
        session = await seat.session(broker, ADA, {})
        with pytest.raises(RefusedError) as refused:
            seating.of_principal(BOB, {})
        assert (refused.value.status, refused.value.headers) == (503, {"retry-after": "5"})
        assert seating.of_principal(ADA, {}) is seat
        await session.complete()
        with seat.held(), pytest.raises(RefusedError):
            seating.of_principal(BOB, {})
        assert seating.of_principal(BOB, {}) is not seat


def test_what_is_passed_on_for_one_is_not_passed_on_for_another() -> None:
    seating = Seating(HttpConfig())
    one = seating.of_principal(ADA, {"x-token": "one", "x-user": "a"})
    assert seating.of_principal(ADA, {"x-user": "a", "x-token": "one"}) is one
    assert seating.of_principal(ADA, {"x-token": "two", "x-user": "a"}) is not one
    assert seating.of_principal(ADA, {}) is not one


async def test_one_caller_has_so_many_seats_of_both_kinds() -> None:
    async with Broker() as broker:
        seating = Seating(HttpConfig(max_sessions_per_principal=2))
        session = await seating.of_principal(ADA, {"x-token": "one"}).session(broker, ADA, {})
        seating.of_principal(ADA, {"x-token": "two"})
        with seating.opening(ADA):  # there is room: nothing is done on the other
            with pytest.raises(RefusedError) as refused:
                seating.of_principal(ADA, {"x-token": "three"})
            assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "5"})
            seating.of_principal(BOB, {})
        await session.complete()
        seating.of_principal(ADA, {})
        await seating.give_up_principals()
        with seating.opening(ADA), seating.opening(ADA):
            pass


async def test_who_stops_takes_nobody_new() -> None:
    seating = Seating(HttpConfig())
    seat = seating.of_principal(ADA, {})
    seating.draining = True
    assert seating.of_principal(ADA, {}) is seat
    with pytest.raises(RefusedError, match="the server is stopping"):
        seating.of_principal(BOB, {})
    with pytest.raises(RefusedError, match="the server is stopping"), seating.opening(ADA):
        pass
    await seating.give_up_principals()
    with pytest.raises(RefusedError):
        seating.of_principal(ADA, {})
