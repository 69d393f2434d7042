"""Two ``enclave-broker serve`` on one server, seen by their clients; one of them dies or halts."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from redis_brokers.processes import BrokerProcess, broker_processes
from redis_brokers.settings import configuration, tools
from redis_servers.endpoint import until
from redis_servers.server import Server, own_server
from websockets.sync.client import connect

LEASE = 1.0
PREFIX = "two"
PATIENCE = 60.0

Two = tuple[BrokerProcess, BrokerProcess]
Clients = tuple["Client", "Client"]


@pytest.fixture(scope="module")
def its_server() -> Iterator[Server]:
    with own_server() as server:
        yield server


@pytest.fixture(scope="module")
def both(its_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    place = tmp_path_factory.mktemp("brokers")
    config = configuration(its_server.url, PREFIX, LEASE)
    with broker_processes(place, config, tools(str(place / "ran")), 2) as (one, other):
        yield one, other


class Client:
    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def post(self, path: str, **body: Any) -> Any:
        return self.http.post(path, json=body)

    def session(self, **body: Any) -> str:
        made = self.post("/sessions", **body)
        assert made.status_code == 201, made.text
        return str(made.json()["sessionId"])

    def call(self, session: str, name: str, **args: Any) -> Any:
        return self.post(f"/sessions/{session}/tool-calls", name=name, args=args)


@pytest.fixture
def two(both: Two) -> Two:
    """Both of them run."""
    for broker in both:
        if not broker.pid:
            broker.start()
    return both


@pytest.fixture
def clients(two: Two) -> Iterator[Clients]:
    with (
        httpx.Client(base_url=two[0].url, timeout=PATIENCE) as here,
        httpx.Client(base_url=two[1].url, timeout=PATIENCE) as there,
    ):
        yield Client(here), Client(there)


class Followed:
    """A session's stream, read by a thread; ``at`` is when each event came."""

    def __init__(self, broker: BrokerProcess, session: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.at: list[float] = []
        self._url = f"{broker.url}/sessions/{session}/stream"
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        until(lambda: self.events, "the first event")

    def _read(self) -> None:
        accept = {"Accept": "application/x-ndjson"}
        with httpx.stream("GET", self._url, headers=accept, timeout=PATIENCE) as got:
            for line in got.iter_lines():
                event = json.loads(line)
                if event["type"] != "heartbeat":
                    self.at.append(time.monotonic())
                    self.events.append(event)

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def whole(self) -> list[dict[str, Any]]:
        """All of it, when the server has ended it."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.events


def log_of(broker: BrokerProcess, session: str) -> list[dict[str, Any]]:
    return Followed(broker, session).whole()


def is_whole(log: list[dict[str, Any]]) -> bool:
    kinds = [event["type"] for event in log]
    numbers = [event["seq"] for event in log]
    return numbers == list(range(1, len(log) + 1)) and kinds.index("final") == len(log) - 1


def test_a_session_of_one_is_used_at_the_other(two: Two, clients: Clients) -> None:
    here, there = clients
    session = here.session()
    followed = Followed(two[1], session)
    pids = [client.call(session, "pid").json()["data"] for client in (here, there)]
    assert pids == [two[0].pid, two[0].pid]
    shown = there.http.get(f"/sessions/{session}").json()
    assert (shown["sessionId"], shown["stats"]["toolCallCount"]) == (session, 2)
    listed = there.http.get("/sessions").json()["sessions"]
    assert session in [one["sessionId"] for one in listed]
    history = there.http.get(f"/sessions/{session}/tool-calls").json()
    assert [call["tool"] for call in history["toolCalls"]] == ["pid", "pid"]
    refused = there.call(session, "once", n="none").json()
    assert refused["error"]["code"] == "VALIDATION_ERROR"
    cancelled = there.post(f"/sessions/{session}/cancel", reason="enough")
    assert cancelled.status_code == 200
    log = followed.whole()
    assert is_whole(log)
    assert log[-1]["payload"]["error"] == {"code": "SESSION_CANCELLED", "message": "enough"}
    assert log_of(two[0], session) == log
    assert there.call(session, "pid").status_code == 409
    assert there.http.delete(f"/sessions/{session}").status_code == 200
    assert here.http.get(f"/sessions/{session}").status_code == 404


def test_code_at_the_other_and_a_key_that_is_used_at_both(two: Two, clients: Clients) -> None:
    here, there = clients
    session = here.session()
    accept = {"Accept": "application/x-ndjson"}
    code = {"code": "x = await call_tool('once', {'n': 3})\nx + 1"}
    ran = there.http.post(f"/sessions/{session}/execute", json=code, headers=accept)
    last = json.loads(ran.text.splitlines()[-1])
    assert (last["type"], last["payload"]["data"]) == ("partial_result", 4)
    body, key = {"name": "once", "args": {"n": 9}}, {"Idempotency-Key": "one"}
    path = f"/sessions/{session}/tool-calls"
    answers = [client.http.post(path, json=body, headers=key) for client in (there, here, there)]
    assert [answer.json() for answer in answers] == [answers[0].json()] * 3
    assert answers[0].json()["data"] == 9
    assert ["idempotency-replayed" in answer.headers for answer in answers] == [False, True, True]
    history = here.http.get(path).json()
    assert [call["tool"] for call in history["toolCalls"]] == ["once", "once"]


def test_a_websocket_at_the_other(two: Two, clients: Clients) -> None:
    here, there = clients
    asked = {"name": "client:ask", "description": "Ask.", "inputSchema": {"type": "object"}}
    session = here.session(clientTools=[asked])
    ticket = there.post(f"/sessions/{session}/ticket")
    assert ticket.status_code == 201
    url = f"{two[1].url}/sessions/{session}/ws".replace("http:", "ws:")
    with connect(url) as socket:
        socket.send(json.dumps({"type": "tool_call", "id": "a", "name": "pid"}))
        found: dict[str, Any] = {}
        while found.get("type") != "tool_result":
            found = json.loads(socket.recv(PATIENCE))
        assert (found["id"], found["data"]) == ("a", two[0].pid)
        socket.send(json.dumps({"type": "cancel", "reason": "enough"}))
        while found.get("type") != "final":
            found = json.loads(socket.recv(PATIENCE))
        assert found["payload"]["error"]["message"] == "enough"
    # Its holder may still be about to hear that the end has been written.
    until(
        lambda: here.http.get(f"/sessions/{session}").json()["state"] == "cancelled",
        "the holder's word",
    )


def test_one_is_killed_and_the_follower_at_the_other_is_told(two: Two, clients: Clients) -> None:
    here, there = clients
    session = here.session()
    followed = Followed(two[1], session)
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(there.call(session, "wait")))
    asking.start()
    until(lambda: "tool_progress" in followed.types(), "a call under way")
    two[0].kill()
    log = followed.whole()
    assert is_whole(log)
    assert log[-1]["payload"]["error"]["code"] == "SESSION_LOST"
    asking.join(PATIENCE)
    assert answers[0].status_code == 409
    assert "it may have been done or not" in answers[0].json()["message"]
    assert log_of(two[1], session) == log
    two[0].start()
    assert log_of(two[0], session) == log


@pytest.mark.parametrize("seconds", [0, pytest.param(10, marks=pytest.mark.soak)])
def test_one_is_halted_finds_it_out_and_writes_nothing_more(
    two: Two, clients: Clients, seconds: float
) -> None:
    """It is halted until it has lost its session, or for longer."""
    here, there = clients
    session = here.session()
    followed = Followed(two[1], session)
    asking = threading.Thread(target=here.call, args=(session, "wait"))
    asking.start()
    until(lambda: "tool_progress" in followed.types(), "a call under way")
    two[0].tell(signal.SIGSTOP)
    began = time.monotonic()
    log = followed.whole()
    assert is_whole(log)
    assert log[-1]["payload"]["error"]["code"] == "SESSION_LOST"
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    two[0].tell(signal.SIGCONT)
    # The call ends there, and it is a broker like any other again.
    asking.join(PATIENCE)
    assert not asking.is_alive()
    until(lambda: here.post("/sessions").status_code == 201, "a session at the one that was halted")
    again = here.session()
    assert there.call(again, "pid").json()["data"] == two[0].pid
    assert here.call(session, "pid").status_code == 409
    assert log_of(two[0], session) == log
    assert "taken for dead" in two[0].log


@pytest.mark.soak
def test_the_end_is_told_within_twice_the_lease(two: Two, clients: Clients) -> None:
    here, _ = clients
    late = []
    for _ in range(20):
        if not two[0].pid:
            two[0].start()
        session = here.session()
        followed = Followed(two[1], session)
        began = time.monotonic()
        two[0].kill()
        assert followed.whole()[-1]["payload"]["error"]["code"] == "SESSION_LOST"
        late.append(followed.at[-1] - began)
    assert max(late) < 2 * LEASE
