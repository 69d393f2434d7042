"""What a broker hears when the server refuses, goes away, or was written to by a later release."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from enclave_broker_core.errors import ConfigError, SessionEndedError, StoreError
from enclave_broker_core.events import Event
from enclave_broker_core.models import SessionState
from enclave_broker_core.testing.samples import draft, event, events, final, record, write
from lossy_proxy import LossyProxy, lossy_proxy
from opened import opened
from postgres_server import PASSWORD, Server

pytestmark = pytest.mark.anyio
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
# A server process is gone when it answers to no signal: then the next query finds it cut.
LEFT = """
SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
AND backend_type = 'client backend'
"""


def cut(server: Server) -> None:
    """End all connections, as a failover does."""
    with server.connect() as connection:
        connection.execute(CUT)
        while connection.execute(LEFT).fetchone() != (0,):
            pass


async def test_a_wrong_password_is_told_and_not_shown(server: Server) -> None:
    wrong = "wrong-battery-93f1a2b4c5"
    with pytest.raises(StoreError, match="password authentication failed") as refused:
        async with opened(server, url=server.url("broker"), password=wrong):
            pass
    assert wrong not in str(refused.value) + repr(refused.value.__cause__)


async def test_the_right_one_is_taken(server: Server) -> None:
    with server.connect() as connection:
        connection.execute("CREATE ROLE broker LOGIN PASSWORD " + repr(PASSWORD))
        connection.execute("GRANT CREATE ON DATABASE postgres TO broker")
    settings = {"url": server.url("broker"), "schema": "other"}
    async with opened(server, password=PASSWORD, **settings) as store:
        await store.create(record())
    async with opened(server) as store:
        assert await store.get("s_1") is None


async def test_a_url_that_is_none_is_not_repeated(server: Server) -> None:
    with pytest.raises(ConfigError) as refused:
        async with opened(server, url=f"nobody:{PASSWORD}"):
            pass
    assert PASSWORD not in str(refused.value)


async def test_nobody_listens(server: Server) -> None:
    with pytest.raises(StoreError, match=r"PostgreSQL: connection .*No such file"):
        async with opened(server, url="postgresql://tests@/postgres?host=/nowhere"):
            pass


async def test_tables_of_a_later_release_are_left_alone(server: Server) -> None:
    async with opened(server, schema="later") as store:
        await store.create(record())
    with server.connect() as connection:
        connection.execute("UPDATE later.broker SET version = 2")
    with pytest.raises(StoreError, match=r"have version 2, .* knows none after 1: upgrade it"):
        async with opened(server, schema="later"):
            pass
    with server.connect() as connection:
        rows = connection.execute("SELECT version, ended_at FROM later.broker, later.sessions")
        assert rows.fetchall() == [(2, None)]


async def test_connections_that_were_cut_are_made_anew(server: Server) -> None:
    """Who writes at that time notices nothing: what may be repeated is."""
    async with opened(server) as store:
        await store.create(record())
        await write(store, event(1))
        cut(server)
        await write(store, event(2))
        cut(server)
        await store.create(record("s_2"))
        cut(server)
        await store.check()
        assert await store.read("s_1") == events(1, 2)


async def test_a_server_that_is_down_is_told_at_once_and_used_again_when_it_is_back(
    server: Server,
) -> None:
    async with opened(server) as store:
        await store.create(record())
        await write(store, event(1))
        given = draft(event(2))
        server.stop()
        try:
            for _ in range(2):
                with pytest.raises(StoreError) as told:
                    await store.append("s_1", given)
                assert told.value.code == "STORE_UNAVAILABLE"
                assert told.value.retry_after == 1.0
            with pytest.raises(StoreError):
                await store.check()
        finally:
            server.start()
        assert await store.append("s_1", given) == 2
        await store.check()
        assert await store.read("s_1") == events(1, 2)


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[LossyProxy]:
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        async with lossy_proxy(Path(folder), server.folder) as proxy:
            yield proxy


@pytest.mark.parametrize("lost", [1, 2])
async def test_an_event_whose_answer_was_lost_is_there_once(
    server: Server, proxy: LossyProxy, lost: int
) -> None:
    """One lost answer is asked for again by the store, more of them by whoever hears of it."""
    given = draft(event(1))
    async with opened(server, url=proxy.url()) as store:
        await store.create(record())
        proxy.lose = lost
        if lost > 1:
            with pytest.raises(StoreError):
                await store.append("s_1", given)
            with server.connect() as connection:
                written = connection.execute("SELECT seq FROM enclave_broker.events")
                assert written.fetchall() == [(1,)]
        assert await store.append("s_1", given) == 1
        assert proxy.lose == 0
        # Another one that says the same is another.
        assert await store.append("s_1", draft(event(1))) == 2
        assert len(await store.read("s_1")) == 2


async def test_an_end_whose_answer_was_lost_is_an_end(server: Server, proxy: LossyProxy) -> None:
    async with opened(server, url=proxy.url()) as store:
        await store.create(record())
        proxy.lose = 2
        last = draft(final(1))
        with pytest.raises(StoreError):
            await store.end("s_1", last, SessionState.COMPLETED, 7.0)
        assert await store.end("s_1", last, SessionState.COMPLETED, 7.0)
        assert not await store.end("s_1", draft(final(2)), SessionState.FAILED, 8.0)
        assert await store.read("s_1") == [final(1)]


async def test_a_line_that_is_dead_is_given_up(server: Server, proxy: LossyProxy) -> None:
    async with opened(server, url=proxy.url(), timeout=2) as store:
        await store.create(record())
        proxy.dead = True
        with pytest.raises(StoreError, match=r"PostgreSQL did not answer within 2 s"):
            await store.get("s_1")
        proxy.dead = False
        assert await store.get("s_1") is not None


async def test_a_schema_has_one_broker_at_a_time(server: Server) -> None:
    async with opened(server) as store:
        with pytest.raises(StoreError, match="another broker has the schema 'enclave_broker'"):
            async with opened(server):
                pass
        await store.check()


async def test_a_broker_that_was_cut_off_finds_that_another_has_come(server: Server) -> None:
    async with opened(server) as first:
        await first.create(record())
        cut(server)
        async with opened(server) as second:
            with pytest.raises(StoreError, match="another broker has the schema"):
                await first.check()
            with pytest.raises(StoreError, match="has taken the schema 'enclave_broker' over"):
                await first.create(record("s_2"))
            with pytest.raises(SessionEndedError):
                await first.append("s_1", draft(event(1)))
            await second.create(record("s_3"))


async def test_sessions_of_a_broker_that_died_are_ended_by_the_next(server: Server) -> None:
    async with opened(server) as store:
        await store.create(record())
        await write(store, event(1))
    async with opened(server) as store:
        left = await store.get("s_1")
        assert left is not None
        assert (left.state, left.last_seq) == (SessionState.FAILED, 2)
        first, last = await store.read("s_1")
        assert isinstance(last, Event)
        assert (first.type, last.type, last.payload["ok"]) == ("stdout", "final", False)
        assert last.payload["error"]["code"] == "SESSION_LOST"


async def test_a_broker_follows_at_once_on_one_that_was_closed(server: Server) -> None:
    """The server ends the session that held the schema a moment after it was closed."""
    for _ in range(8):
        async with opened(server) as store:
            await store.check()
