"""A session from its creation to its one final event, and who may touch it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from enclave_broker_core import (
    ArgumentsError,
    Broker,
    BrokerError,
    ConfigError,
    Principal,
    Session,
    SessionCancelledError,
    SessionEndedError,
    SessionExistsError,
    SessionExpiredError,
    SessionNotFoundError,
    SessionSettings,
    SessionState,
    TooManySessionsError,
)

pytestmark = pytest.mark.anyio


class Waiting:
    """A tool that waits, and tells when it began and when it is gone."""

    def __init__(self) -> None:
        self.began = anyio.Event()
        self.gone = anyio.Event()

    async def __call__(self) -> None:
        self.began.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.gone.set()


def broker_with(tool: Any = None, **settings: Any) -> Broker:
    broker = Broker(sessions=SessionSettings(**settings))
    broker.tool("t")(tool or (lambda: "t"))
    return broker


async def log(session: Session) -> list[tuple[str, dict[str, Any]]]:
    return [(event.type, event.payload) async for event in session.events()]


async def test_states() -> None:
    waiting = Waiting()
    async with broker_with(waiting) as broker, broker.session() as session:
        assert session.state is SessionState.RUNNING
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.call, "t")
            await waiting.began.wait()
            assert session.state is SessionState.WAITING_FOR_TOOL
            assert session.info().state is SessionState.WAITING_FOR_TOOL
            assert [one.state for one in await broker.list_sessions()] == [session.state]
            tasks.cancel_scope.cancel()
        assert session.state is SessionState.RUNNING
    assert session.state is SessionState.COMPLETED
    assert session.info().ended_at is not None
    assert session.info().tool_calls == 1


@pytest.mark.parametrize(
    ("end", "state", "error", "code"),
    [
        ("complete", SessionState.COMPLETED, SessionEndedError, "SESSION_ENDED"),
        ("cancel", SessionState.CANCELLED, SessionCancelledError, "SESSION_CANCELLED"),
        ("expire", SessionState.FAILED, SessionExpiredError, "SESSION_EXPIRED"),
        ("idle", SessionState.FAILED, SessionExpiredError, "SESSION_EXPIRED"),
    ],
)
async def test_an_ended_session_never_changes_again(
    end: str, state: SessionState, error: type[BrokerError], code: str
) -> None:
    limits = {"expire": {"timeout": 0.05}, "idle": {"idle_timeout": 0.05}}.get(end, {})
    async with broker_with() as broker:
        session = await broker.create_session(**limits)
        if end == "complete":
            await session.complete(b"5")
        elif end == "cancel":
            await session.cancel("enough")
        else:
            await session.ended.wait()
        before = await log(session)
        info = session.info()
        assert (info.state, session.state, session.is_ending) == (state, state, True)
        assert [kind for kind, _ in before] == ["session_init", "final"]
        final = before[-1][1]
        assert final["ok"] is (end == "complete")
        assert final.get("error", {}).get("code") == (None if end == "complete" else code)
        await session.complete()
        await session.cancel("again")
        for act in (
            lambda: session.call("t"),
            lambda: session.run("1"),
            lambda: session.execute("1"),
            lambda: session.deliver({"type": "tool_call", "name": "t"}),
        ):
            with pytest.raises(error) as caught:
                await act()
            assert caught.value.code == code
        await session.send({"type": "x"})
        assert await log(session) == before
        assert session.info() == info
        assert await broker.list_sessions() == []
        assert [one.state for one in await broker.list_sessions(include_ended=True)] == [state]
        assert [message async for message in session.messages()] == []
        found = await broker.get_session(session.id)
        assert (found.state, await log(found)) == (state, before)
        assert [message async for message in found.messages()] == []
        with pytest.raises(SessionEndedError):
            await found.call("t")


@pytest.mark.parametrize("how", ["cancel", "complete", "destroy", "close"])
async def test_calls_are_gone_when_the_end_returns(how: str) -> None:
    waiting = Waiting()
    said: list[str] = []
    async with anyio.create_task_group() as tasks, broker_with(waiting) as broker:
        session = await broker.create_session()

        async def call() -> None:
            try:
                await session.call("t")
            except BrokerError as error:
                said.append(error.code)

        tasks.start_soon(call)
        await waiting.began.wait()
        if how == "cancel":
            await session.cancel("enough")
        elif how == "complete":
            await session.complete()
        elif how == "destroy":
            assert await broker.destroy_session(session.id)
        else:
            await broker.aclose()
        assert waiting.gone.is_set()
        assert session.ended.is_set()
        assert not session.busy
    assert said == ["SESSION_ENDED" if how == "complete" else "SESSION_CANCELLED"]


async def test_the_log_of_a_cancelled_call_ends_before_the_final_event() -> None:
    waiting = Waiting()
    async with broker_with(waiting) as broker, broker.session() as session:
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                with pytest.raises(SessionCancelledError, match=r"enough|more|again"):
                    await session.call("t")

            tasks.start_soon(call)
            await waiting.began.wait()
            async with anyio.create_task_group() as cancelling:
                for reason in ("enough", "more", "again"):
                    cancelling.start_soon(session.cancel, reason)
        kinds = [kind for kind, _ in await log(session)]
        assert kinds == ["session_init", "tool_call", "tool_result_applied", "final"]
        history = await session.history()
        assert [(one.outcome, one.error_code) for one in history] == [
            ("cancelled", "SESSION_CANCELLED")
        ]


async def test_leaving_the_block_completes() -> None:
    async with broker_with() as broker:
        async with broker.session() as session:
            await session.call("t")
        assert session.state is SessionState.COMPLETED
        final = (await log(session))[-1][1]
        assert (final["ok"], final["stats"]["toolCallCount"]) == (True, 1)
        async with broker.session() as session:
            await session.cancel("inside")
        assert session.state is SessionState.CANCELLED


@pytest.mark.parametrize("where", ["session", "broker"])
async def test_an_exception_cancels_and_comes_out_as_it_is(where: str) -> None:
    session = None
    with pytest.raises(ZeroDivisionError):
        async with broker_with() as broker:
            if where == "session":
                async with broker.session() as session:
                    raise ZeroDivisionError
            session = await broker.create_session()
            raise ZeroDivisionError
    assert session is not None
    assert session.state is SessionState.CANCELLED


async def test_a_cancelled_block_cancels_its_session() -> None:
    async with broker_with() as broker:
        entered = anyio.Event()
        found: list[Session] = []

        async def block() -> None:
            async with broker.session() as session:
                found.append(session)
                entered.set()
                await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(block)
            await entered.wait()
            tasks.cancel_scope.cancel()
        final = (await log(found[0]))[-1][1]
        assert final["error"]["code"] == "SESSION_CANCELLED"


async def test_closing_the_broker_ends_its_sessions() -> None:
    async with broker_with() as broker:
        sessions = [await broker.create_session() for _ in range(3)]
        assert broker.stats().open_sessions == 3
    assert {session.state for session in sessions} == {SessionState.CANCELLED}
    assert broker.stats().open_sessions == 0
    with pytest.raises(SessionCancelledError, match="the broker is closing"):
        await sessions[0].call("t")
    with pytest.raises(ConfigError, match="not open"):
        await broker.create_session()


async def test_a_broker_that_is_not_open_has_no_sessions() -> None:
    with pytest.raises(ConfigError, match="use it in 'async with'"):
        await broker_with().create_session()


async def test_too_many_sessions() -> None:
    async with broker_with(max_concurrent=2) as broker:
        first = await broker.create_session(timeout=30)
        await broker.create_session(timeout=60)
        with pytest.raises(TooManySessionsError) as caught:
            await broker.create_session()
        assert caught.value.code == "TOO_MANY_SESSIONS"
        assert 0 < (caught.value.retry_after or 0) <= 30
        assert caught.value.details[0]["type"] == "retry_info"
        await first.complete()
        await broker.create_session()


# Who may touch it


ANN = Principal(id="ann", tenant="x", roles=frozenset({"user"}))
TWIN = Principal(id="ann", tenant="y")
BARE = Principal(id="ann")
ADMIN = Principal(id="root", roles=frozenset({"operator"}))


async def test_unknown_and_forbidden_look_the_same() -> None:
    async with broker_with(admin_roles={"operator"}) as broker:
        mine = await broker.create_session(principal=ANN)
        nobodys = await broker.create_session()
        for other in (TWIN, BARE, Principal(id="eve", tenant="x"), Principal.anonymous()):
            texts = set()
            for session_id in (mine.id, nobodys.id, "s_unknown"):
                with pytest.raises(SessionNotFoundError) as caught:
                    await broker.get_session(session_id, principal=other)
                with pytest.raises(SessionNotFoundError) as called:
                    call = {"type": "tool_call", "name": "t"}
                    await broker.execute_tool_call(session_id, call, principal=other)
                assert called.value.message == caught.value.message
                texts.add(caught.value.message.replace(session_id, "ID"))
                assert not await broker.destroy_session(session_id, principal=other)
            assert texts == {"there is no session 'ID'"}
            assert await broker.list_sessions(principal=other) == []
            assert await broker.list_sessions(principal=other, user_id="ann") == []
        for asking in (ANN, ADMIN, None):
            assert (await broker.get_session(mine.id, principal=asking)) is mine
            ids = [one.id for one in await broker.list_sessions(principal=asking)]
            assert ids == ([mine.id] if asking is ANN else [mine.id, nobodys.id])
        assert await broker.destroy_session(mine.id, principal=ADMIN)
        assert mine.state is SessionState.CANCELLED
        with pytest.raises(SessionNotFoundError):
            await broker.get_session(mine.id)
        assert not await broker.destroy_session(mine.id)


async def test_nobody_is_an_administrator_unless_it_is_said() -> None:
    async with broker_with() as broker:
        mine = await broker.create_session(principal=ANN)
        with pytest.raises(SessionNotFoundError):
            await broker.get_session(mine.id, principal=ADMIN)


# How it is asked for


async def test_an_id_is_honoured_and_taken_once() -> None:
    async with broker_with() as broker:
        session = await broker.create_session(session_id="s_my-own_ID")
        assert session.id == "s_my-own_ID"
        with pytest.raises(SessionExistsError):
            await broker.create_session(session_id="s_my-own_ID")
        await session.complete()
        with pytest.raises(SessionExistsError):
            await broker.create_session(session_id="s_my-own_ID")
        assert (await broker.create_session()).id.startswith("s_")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        *(
            ({"session_id": bad}, "id: ")
            for bad in ("", "x", "s_", "s_a b", "s_" + "a" * 65, "s_ä")
        ),
        ({"user_id": ""}, "id: "),
        ({"user_id": "a", "principal": ANN}, "two different callers"),
        ({"metadata": {"k": "x" * 70_000}}, "metadata: "),
        ({"metadata": {"k": float("nan")}}, "metadata"),
        ({"metadata": {"k": object()}}, "metadata"),
        ({"allowed_tools": ["{a"]}, "allowed_tools: "),
        ({"timeout": 0}, "timeout: "),
        ({"max_tool_calls": "many"}, "max_tool_calls: "),
    ],
)
async def test_what_can_not_be_is_refused(options: dict[str, Any], said: str) -> None:
    async with broker_with() as broker:
        with pytest.raises(ArgumentsError, match=said) as caught:
            await broker.create_session(**options)
        assert len(caught.value.message) < 1000
        assert broker.stats().open_sessions == 0
        assert await broker.list_sessions(include_ended=True) == []


async def test_metadata_are_the_sessions_own() -> None:
    metadata: dict[str, Any] = {"source": ["api"]}
    async with broker_with() as broker:
        session = await broker.create_session(metadata=metadata, user_id="u")
        metadata["source"].append("changed")
        assert session.metadata == {"source": ["api"]}
        assert session.principal == Principal(id="u")
        (listed,) = await broker.list_sessions(user_id="u")
        assert listed.metadata == {"source": ["api"]}
        assert await broker.list_sessions(user_id="v") == []
