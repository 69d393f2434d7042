"""The store in a real broker, by a configuration, and what its bounds are."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_core.errors import PluginError
from enclave_broker_core.testing.harness import open_harness
from enclave_broker_core.testing.samples import call, end, event, events, final, ids, record, write
from opened import opened
from postgres_server import PASSWORD, Server
from pydantic import ValidationError

import enclave_broker_postgres
from enclave_broker_postgres.config import PostgresConfig

pytestmark = pytest.mark.anyio


def table(server: Server, **more: str) -> dict[str, Any]:
    return {"plugins": ["memory"], "store": {"use": "postgres", "url": server.url(), **more}}


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_what_happened_can_be_read_when_the_session_has_ended(server: Server) -> None:
    async with open_harness(table(server), enclave_broker_postgres) as harness:
        harness.broker.tool("math:add")(add)
        async with harness.broker.session(session_id="s_mine") as session:
            assert (await harness.call("math:add", {"a": 1, "b": 2}, session=session)).unwrap() == 3
        ended = await harness.broker.get_session("s_mine")
        types = [event.type for event in await harness.events("s_mine")]
        tools = [call.tool for call in await ended.history()]
    assert ended.state.value == "completed"
    assert (types[0], types[-1]) == ("session_init", "final")
    assert "tool_call" in types
    assert tools == ["math:add"]


async def test_a_call_that_can_not_be_recorded_is_not_made(server: Server) -> None:
    made: list[str] = []
    async with open_harness(table(server), enclave_broker_postgres) as harness:
        harness.broker.tool("note")(lambda text: made.append(text))
        async with harness.broker.session(session_id="s_mine") as session:
            server.stop()
            try:
                failed = await harness.call("note", {"text": "lost"}, session=session)
            finally:
                server.start()
            (await harness.call("note", {"text": "kept"}, session=session)).unwrap()
        types = [event.type for event in await harness.events("s_mine")]
    assert failed.code == "STORE_UNAVAILABLE"
    assert made == ["kept"]
    assert types[-1] == "final"


async def test_a_secret_of_the_configuration_is_in_no_error(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_PASSWORD", PASSWORD)
    config = table(server, password="${secret:PG_PASSWORD}")
    config["store"]["url"] = server.url("unknown")
    with pytest.raises(PluginError) as refused:
        async with open_harness(config, enclave_broker_postgres, environment=True):
            pass
    assert "no pg_hba.conf entry" in refused.value.message
    assert PASSWORD not in repr(refused.value)


async def test_over_a_bound_the_oldest_events_and_calls_leave(server: Server) -> None:
    async with opened(server, max_events=2, max_calls=1) as store:
        await store.create(record())
        for seq in (1, 2, 3):
            await write(store, event(seq), call=call(f"c_{seq}"))
        assert await store.read("s_1") == events(2, 3)
        assert [one.call_id for one in await store.history("s_1")] == ["c_3"]
        kept = await store.get("s_1")
        assert kept is not None
        assert (kept.last_seq, kept.tool_calls) == (3, 3)


async def test_over_a_bound_the_sessions_that_ended_first_leave(server: Server) -> None:
    async with opened(server, max_ended=1) as store:
        for id in ("s_1", "s_2", "s_3"):
            await store.create(record(id))
        for id in ("s_2", "s_1"):
            await end(store, final(1, id))
        assert ids(await store.list(include_ended=True)) == ["s_1", "s_3"]
        assert ids(await store.list(include_ended=True, after="s_2")) == ["s_3"]


async def test_names_may_be_anything(server: Server) -> None:
    odd = "a\0'\ud800\n;--"
    async with opened(server) as store:
        assert await store.get(odd) is None
        await store.create(record())
        for state in ("new", "pending"):
            assert (await store.claim("s_1", odd, odd, seconds=60.0)).state == state


@pytest.mark.parametrize(
    "wrong", [{"schema": 'a" CASCADE'}, {"connections": 0}, {"timeout": 0}, {"host": "db"}]
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PostgresConfig.model_validate({"url": "postgresql://db/broker", **wrong})
