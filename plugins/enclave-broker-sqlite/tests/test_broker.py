"""A broker from a configuration whose store is a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from enclave_broker_sqlite.config import SqliteConfig
from enclave_broker_sqlite.file import open_file
from enclave_broker_sqlite.store import SqliteStore

from enclave_broker_core import RateLimitedError
from enclave_broker_core.build import check_backends, open_setup
from enclave_broker_core.models import SessionState
from enclave_broker_core.testing.replica_suite import lasting

pytestmark = pytest.mark.anyio


def settings(folder: Path) -> dict[str, Any]:
    return {
        "plugins": ["sqlite", "memory"],
        "store": {"use": "sqlite", "path": str(folder / "broker.db"), "wait": 0},
        "access": {"use": "rules", "default": "allow"},
        "rate_limit": {"global": {"max_calls": 3, "window": 3600}},
    }


async def test_a_broker_goes_on_after_a_restart_where_it_was(tmp_path: Path) -> None:
    config = settings(tmp_path)
    assert await check_backends(config) == []
    async with open_setup(config) as setup:
        broker = setup.broker
        broker.tool("echo")(echo)
        async with broker.session(session_id="s_first") as session:
            assert await session.call("echo", {"text": "a"}) == "a"
            await setup.reload()
            assert await session.call("echo", {"text": "b"}) == "b"
        # It is open: its file is nobody else's.
        limiter, store = await check_backends(config)
        assert "in use by another broker" in limiter
        assert "in use by another broker" in store
    async with open_setup(config) as setup:
        broker = setup.broker
        broker.tool("echo")(echo)
        first = await broker.get_session("s_first")
        assert first.state is SessionState.COMPLETED
        assert [call.outcome for call in await first.history()] == ["ok", "ok"]
        kinds = [event.type async for event in first.events()]
        assert kinds == ["session_init", *["tool_call", "tool_result_applied"] * 2, "final"]
        async with broker.session() as session:
            await session.call("echo", {"text": "c"})
            with pytest.raises(RateLimitedError):
                await session.call("echo", {"text": "d"})


async def echo(text: str) -> str:
    return text


async def test_who_asks_right_after_a_restart_waits_until_it_is_settled(tmp_path: Path) -> None:
    """A session that nobody ended: the file still has it open when the next broker begins."""
    path = str(tmp_path / "broker.db")
    async with open_file(SqliteConfig(path=path)) as file:
        await SqliteStore(file).create(lasting("s_left"))
    async with open_setup(settings(tmp_path)) as setup:
        left = await setup.broker.get_session("s_left")
        assert left.state is SessionState.FAILED
        assert left.has_ended
        [final] = [event async for event in left.events()]
        assert final.payload["error"]["code"] == "SESSION_LOST"
