"""schemathesis over the whole of ``openapi.json``, against a server that has everything.

What it is told of this API is in schemathesis.toml and schemathesis_hooks.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from enclave_broker_server.answers import Answer
from enclave_broker_server.app import create_app
from enclave_broker_server.settings import ServerSettings
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from wire_check import Checked

from enclave_broker_core import (
    Broker,
    BrokerError,
    ClientTool,
    Principal,
    Session,
    SessionLimits,
    use,
)

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
CALLER = Principal.anonymous()


class Sessions:
    """Sessions of each kind, for who asks from outside; and ends those that are streamed.

    A stream of an open session would never end by itself.
    """

    def __init__(self, broker: Broker, tasks: anyio.abc.TaskGroup) -> None:
        self._broker = broker
        self._tasks = tasks
        self._count = 0
        self.app: ASGIApp

    def routes(self) -> list[Route]:
        return [
            Route("/testing/open", self.open),
            Route("/testing/ended", self.ended),
            Route("/testing/waiting", self.waiting),
        ]

    async def open(self, request: Request) -> ASGIApp:
        session = await self._new()
        await session.call("users:get", {"id": 1})
        return Answer({"sessionId": session.id})

    async def ended(self, request: Request) -> ASGIApp:
        session = await self._new()
        await session.execute("print('over')")
        await session.complete()
        return Answer({"sessionId": session.id})

    async def waiting(self, request: Request) -> ASGIApp:
        ask = ClientTool(name="client:ask", timeout=3600)
        session = await self._new(client_tools=[ask])
        self._tasks.start_soon(self._ask, session)
        async for event in session.events():
            if event.type == "tool_call":
                return Answer({"sessionId": session.id, "callId": event.payload["callId"]})
        raise AssertionError("it was not called")

    async def _new(self, **options: Any) -> Session:
        self._count += 1
        if self._count % 300 == 0:  # one request at a time is made: none is disturbed
            await self._broker.end_sessions("there has to be room")
        return await self._broker.create_session(principal=CALLER, **options)

    async def _ask(self, session: Session) -> None:
        with suppress(BrokerError):  # what a client answers is up to it
            await session.call("client:ask", {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        streamed = scope["type"] == "http" and scope["path"].endswith("/stream")

        async def sent(message: Message) -> None:
            await send(message)
            if streamed and message["type"] == "http.response.start" and message["status"] == 200:
                self._tasks.start_soon(self._end, scope["path"].split("/")[2])

        await self.app(scope, receive, sent)

    async def _end(self, session_id: str) -> None:
        await (await self._broker.get_session(session_id)).cancel("enough")


@pytest.fixture
async def url(serving_app: Any) -> AsyncIterator[str]:
    broker = Broker(
        runtime=use("monty", workers=1),
        limits=SessionLimits(max_code_bytes=200, run_timeout=5.0, call_timeout=5.0),
    )

    @broker.tool("users:get", tags={"users"})
    async def get(id: int) -> dict[str, Any]:
        """Look a user up."""
        return {"id": id, "name": None}

    @broker.tool("echo", deprecated=True)
    async def echo(value: object = None) -> object:
        return value

    @broker.tool("fail")
    async def fail() -> None:
        raise ValueError("it does not work")

    async with broker, anyio.create_task_group() as tasks:
        sessions = Sessions(broker, tasks)
        app = Checked(create_app(broker, routes=sessions.routes()))
        sessions.app = app
        async with serving_app(sessions, ServerSettings()) as url:
            yield url
        tasks.cancel_scope.cancel()
    assert app.found == []
    assert app.lines > 20


async def run(url: str, place: Path, *options: str) -> dict[str, Any]:
    """What schemathesis reports; all that it says is the message when it has found something."""
    report, document = place / "report.json", place / "openapi.json"
    # From its own URL it would leave that out.
    document.write_bytes((await anyio.to_thread.run_sync(httpx.get, f"{url}/openapi.json")).content)
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(HERE / "schemathesis.toml")),
        *("run", str(document), "--url", url, "--no-color", "--report-json-path", str(report)),
        *options,
    ]
    done = await anyio.run_process(
        command,
        cwd=place,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py")},
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, _shortened(done.stdout.decode())
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def _shortened(said: str) -> str:
    return "\n".join(line[:500] for line in said.splitlines())[-30_000:]


async def test_what_is_described_is_what_is_answered(url: str, tmp_path: Path) -> None:
    """Each bound of each field, on both of its sides, and all examples."""
    found = await run(url, tmp_path, "--phases", "examples,coverage", "--generation-deterministic")
    assert found["operations"]["tested"] == found["operations"]["total"] == 18


async def test_it_is_so_for_what_is_random_and_in_sequences(url: str, tmp_path: Path) -> None:
    options = ("--phases", "fuzzing,stateful", "--max-examples", "8")
    found = await run(url, tmp_path, *options, "--generation-deterministic")
    assert found["operations"]["tested"] == found["operations"]["total"] == 18
    accepted = {name: one["fuzzing"]["accepted"] for name, one in found["valid_rates"].items()}
    # It has got through to what the operations do, but where only a WebSocket does.
    assert accepted.pop("GET /sessions/{session_id}/ws") == 0
    assert {name for name, count in accepted.items() if count == 0} == set()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
async def test_it_is_so_for_thousands_of_requests(url: str, tmp_path: Path, seed: int) -> None:
    options = ("--max-examples", "60", "--phases", "fuzzing,stateful")
    await run(url, tmp_path, *options, "--seed", str(seed))
