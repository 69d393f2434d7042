"""SessionManager without a broker: the sessions of the original README, on their own."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from enclave_broker_memory.config import MemoryStoreConfig
from enclave_broker_memory.store import MemoryStore

from enclave_broker_core import (
    ConfigError,
    Principal,
    RunError,
    SessionCancelledError,
    SessionExpiredError,
    SessionManager,
    SessionNotFoundError,
    SessionSettings,
    SessionState,
    TooManySessionsError,
    UnknownToolError,
)

pytestmark = pytest.mark.anyio


async def test_create_get_list_destroy() -> None:
    async with SessionManager(
        max_concurrent_sessions=100, session_timeout=60, cleanup_interval=10
    ) as manager:
        session = await manager.create(user_id="user_123", metadata={"source": "api"})
        other = await manager.create(user_id="user_456")
        assert await manager.get(session.id) is session
        assert session.limits.timeout == 60
        assert session.metadata == {"source": "api"}
        assert [one.id for one in await manager.list()] == [session.id, other.id]
        (mine,) = await manager.list(user_id="user_123")
        assert (mine.id, mine.principal_id, mine.state) == (
            session.id,
            "user_123",
            SessionState.RUNNING,
        )
        assert await manager.destroy(session.id)
        assert not await manager.destroy(session.id)
        with pytest.raises(SessionNotFoundError):
            await manager.get(session.id)
        assert manager.open_count == 1
    assert manager.open_count == 0
    with pytest.raises(SessionCancelledError):
        await other.call("t")


async def test_pages_of_a_list() -> None:
    async with SessionManager() as manager:
        ids = [(await manager.create()).id for _ in range(5)]
        first = [one.id for one in await manager.list(limit=2)]
        rest = [one.id for one in await manager.list(limit=10, after=first[-1])]
        assert first + rest == ids


async def test_its_sessions_have_no_tools_and_no_code() -> None:
    async with SessionManager() as manager:
        session = await manager.create()
        with pytest.raises(UnknownToolError, match="no broker is around"):
            await session.call("t", {})
        with pytest.raises(RunError, match="this broker runs no code"):
            await session.run("1")
        assert await session.visible_tools() == {}
        await session.complete()
        assert [event.type async for event in session.events()] == ["session_init", "final"]


async def test_messages_work() -> None:
    async with SessionManager() as manager:
        session = await manager.create()
        done = anyio.Event()
        session.on("note", lambda message: done.set())
        await session.deliver({"type": "note"})
        await done.wait()
        await session.send({"type": "answer"})
        assert await anext(session.messages()) == {"type": "answer"}


async def test_too_many() -> None:
    async with SessionManager(max_concurrent_sessions=1, session_timeout=0.5) as manager:
        first = await manager.create()
        with pytest.raises(TooManySessionsError) as caught:
            await manager.create()
        assert 0 < (caught.value.retry_after or 0) <= 0.5
        await first.ended.wait()
        assert (await manager.create()).state is SessionState.RUNNING


async def test_too_many_of_one_principal() -> None:
    ada, bob = Principal(id="ada", tenant="acme"), Principal(id="bob")
    settings = SessionSettings(max_concurrent=6, max_per_principal=2)
    async with SessionManager(settings=settings) as manager:
        first = await manager.create(principal=ada, timeout=30)
        await manager.create(principal=ada, timeout=60)
        with pytest.raises(TooManySessionsError, match="ada") as caught:
            await manager.create(principal=ada)
        assert 0 < (caught.value.retry_after or 0) <= 30
        await manager.create(principal=bob)
        await manager.create(user_id="ada")
        # The program itself has no principal, and only all sessions together bound it.
        await manager.create()
        await manager.create()
        with pytest.raises(TooManySessionsError):
            await manager.create()
        await first.complete()
        await manager.create(principal=ada)


async def test_each_expires_in_its_own_time() -> None:
    async with SessionManager(session_timeout=60) as manager:
        late = await manager.create(timeout=0.1)
        early = await manager.create(timeout=0.02)
        idle = await manager.create(idle_timeout=0.02)
        stays = await manager.create()
        for session in (late, early, idle):
            await session.ended.wait()
            assert session.state is SessionState.FAILED
            with pytest.raises(SessionExpiredError):
                await session.run("1")
        assert stays.state is SessionState.RUNNING
        assert [one.id for one in await manager.list()] == [stays.id]


async def test_ended_sessions_are_forgotten_after_their_grace() -> None:
    store = MemoryStore(MemoryStoreConfig(grace=0))
    async with SessionManager(cleanup_interval=0.01, store=store) as manager:
        session = await manager.create()
        await session.complete()
        while True:
            try:
                await manager.get(session.id)
            except SessionNotFoundError:
                break
            await anyio.lowlevel.checkpoint()
        assert await manager.list(include_ended=True) == []


async def test_it_goes_on_when_the_store_can_not_be_swept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    swept = anyio.Event()

    class Stuck(MemoryStore):
        tries = 0

        async def sweep(self, now: float) -> int:
            self.tries += 1
            if self.tries == 2:
                swept.set()
            raise OSError("the store is away")

    async with SessionManager(cleanup_interval=0.01, store=Stuck()) as manager:
        await swept.wait()
        assert (await manager.create()).state is SessionState.RUNNING
    assert "could not be swept" in caplog.text


async def test_an_end_that_can_not_be_stored_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(MemoryStore):
        async def end(self, session_id: str, *args: Any) -> bool:
            if session_id == "s_broken":
                raise OSError("the store is away")
            return await super().end(session_id, *args)

    async with SessionManager(store=Broken()) as manager:
        broken = await manager.create(session_id="s_broken", timeout=0.02)
        await broken.ended.wait()
        other = await manager.create()
        await other.complete()
        assert other.state is SessionState.COMPLETED
        with pytest.raises(SessionExpiredError):
            await broken.call("t")
    assert "the end of session s_broken could not be recorded" in caplog.text


async def test_an_exception_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with SessionManager() as manager:
            session = await manager.create()
            raise ZeroDivisionError
    assert session.state is SessionState.CANCELLED


@pytest.mark.parametrize(
    "options",
    [{"max_concurrent_sessions": 0}, {"session_timeout": 0}, {"cleanup_interval": -1}],
)
def test_what_can_not_be_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        SessionManager(**options)


async def test_it_has_to_be_open() -> None:
    manager = SessionManager()
    with pytest.raises(ConfigError, match="use it in 'async with'"):
        await manager.create()
    async with manager:
        await manager.create()
    with pytest.raises(ConfigError, match="use it in 'async with'"):
        await manager.create()
