"""The client without an event loop: the same answers, in the thread that asks."""

from __future__ import annotations

import threading

import pytest
from cut_proxy import After, Deaf, Proxy
from enclave_broker_client import ConflictError, ConnectionLostError, SyncClient
from server_thread import PATIENCE, QUICK, Server
from wire_schema import log_problems

from enclave_broker_core import (
    RunError,
    SessionExistsError,
    SessionNotFoundError,
    ToolError,
    UnknownToolError,
)
from enclave_broker_core.models import SessionState


def test_runs(server: Server, raw_lines: list[bytes]) -> None:
    with SyncClient(server.url, settings=QUICK) as client:
        with client.stream('print("a")\n[1]') as events:
            received = list(events)
        assert events.outcome.unwrap() == [1]
        assert received == server.log(events.session_id)
        assert log_problems(raw_lines) == []
        assert isinstance(client.run("1 / 0").error, RunError)
        with pytest.raises(SessionExistsError):
            client.run("1", session_id=events.session_id)


def test_a_session(server: Server) -> None:
    with SyncClient(server.url, settings=QUICK) as client:
        with client.session(metadata={"a": 1}) as session:
            assert session.call("test:echo", {"value": [None]}) == [None]
            with pytest.raises(ToolError, match="it does not work"):
                session.call("test:fail")
            assert session.run("x = 1").ok
            with session.execute("x + 1") as events:
                assert [event.type for event in events] == ["partial_result"]
            assert events.outcome.unwrap() == 2
            assert [call.outcome for call in session.history()] == ["ok", "error"]
            assert session.info().tool_calls == 2
            assert session.ticket().ticket
            with session.events(2) as events:
                assert next(events).payload["toolName"] == "test:echo"
            session.cancel("enough")
            session.cancel("more than enough")
            with session.events() as events:
                assert list(events)[-1].payload["error"]["message"] == "enough"
            with pytest.raises(ConflictError):
                session.run("1")
        assert session.info().state is SessionState.CANCELLED
        session.delete()
        with pytest.raises(SessionNotFoundError):
            session.info()
        with pytest.raises(SessionNotFoundError):
            client.existing("s_nobody").cancel()


def test_the_end_of_the_block_ends_the_session(server: Server) -> None:
    with SyncClient(server.url, settings=QUICK) as client:
        with pytest.raises(ZeroDivisionError), client.session() as session:
            raise ZeroDivisionError
        assert session.info().state is SessionState.CANCELLED
        assert session.id in {one.session_id for one in client.sessions(ended=True)}
        assert session.id not in {one.session_id for one in client.sessions()}


def test_the_server(server: Server) -> None:
    client = SyncClient(server.url, settings=QUICK)
    with client:
        assert client.health() is True
        assert client.ready() is True
        assert client.tool("test:echo") in client.tools()
        with pytest.raises(UnknownToolError):
            client.tool("test:nothing")
    with pytest.raises(RuntimeError, match="with"):
        client.health()


def test_lost_answers(server: Server, proxy: Proxy) -> None:
    with SyncClient(proxy.url, settings=QUICK) as client:
        proxy.plan.extend([Deaf(), Deaf(), None, After(0)])
        assert client.run('await call_tool("test:count", {"name": "sync"})').unwrap() == 1
        with client.session() as session:
            proxy.plan.extend([After(0), Deaf()])
            assert session.call("test:count", {"name": "sync"}) == 2


def test_a_server_that_is_not_there(server: Server) -> None:
    with (
        SyncClient("http://127.0.0.1:1", settings=QUICK) as client,
        pytest.raises(ConnectionLostError) as caught,
    ):
        client.run("1")
    assert not caught.value.sent


def test_one_client_in_several_threads(server: Server) -> None:
    results: list[object] = []

    def run(number: int) -> None:
        results.append(client.run(f"{number}").unwrap())

    with SyncClient(server.url, settings=QUICK) as client:
        threads = [threading.Thread(target=run, args=[number]) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert sorted(results, key=str) == [0, 1, 2, 3]
