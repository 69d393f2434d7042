"""When sessions are due is forgotten with them."""

from __future__ import annotations

import pytest

from enclave_broker_core.sessions import SessionManager

pytestmark = pytest.mark.anyio


async def test_many_short_sessions_leave_nothing_behind() -> None:
    async with SessionManager() as manager:
        stays = await manager.create(timeout=1000.0)
        for _ in range(500):
            await (await manager.create()).complete()
        assert len(manager._expiry._due) < 100
        assert stays.id in {session_id for _, session_id in manager._expiry._due}
