"""What the tests of WebSockets share: a client that checks every line that comes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from wire_schema import anything, details, problems, shape, text, wrong

from enclave_broker_core import Broker, Session
from enclave_broker_core.models import Principal

SECONDS = 15
Serving = Callable[..., AbstractAsyncContextManager[str]]
ANSWERS = {
    "tool_result": {"type": text, "id": text, "data": anything},
    "tool_error": {
        "type": text,
        "id": text,
        "error": shape(code=text, message=text, details_=details),
    },
}


class Socket:
    """One connection. Every line that comes is checked and kept, as it came, in ``lines``."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.lines: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def call(self, name: str, id: str = "1", **args: Any) -> None:
        await self.send(type="tool_call", id=id, name=name, args=args)

    async def next(self) -> dict[str, Any]:
        line = await self.connection.recv()
        assert isinstance(line, str)
        found: dict[str, Any] = json.loads(line)
        self.lines.append(line)
        if "protocolVersion" in found:
            assert problems(line) == []
            self.events.append(found)
        else:
            assert wrong(found, ANSWERS[found["type"]]) == []
            self.answers.append(found)
        return found

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message of this kind, of those that come now."""
        with anyio.fail_after(SECONDS):
            while not wanted(found := await self.next()):
                pass
        return found

    async def answer(self, id: str = "1") -> dict[str, Any]:
        return await self.until(lambda found: found.get("id") == id)

    async def event(self, type: str, **payload: Any) -> dict[str, Any]:
        def is_it(found: dict[str, Any]) -> bool:
            return (
                "protocolVersion" in found
                and found["type"] == type
                and payload.items() <= found["payload"].items()
            )

        return await self.until(is_it)

    async def closed(self) -> int:
        """Take what comes until the server closes it: the code."""
        with pytest.raises(ConnectionClosed) as closed:
            await self.until(lambda found: False)
        frame = closed.value.rcvd
        assert frame is not None
        return frame.code

    def logged(self) -> list[str]:
        """The lines that are in the session's log."""
        passing = ("heartbeat", "error")
        found = [(json.loads(line), line) for line in self.lines]
        return [
            line
            for event, line in found
            if "protocolVersion" in event and event["type"] not in passing
        ]


class Gate:
    """A call of ``wait`` that has begun, and ends when it is let."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.open = anyio.Event()
        self.cancelled = False

    async def wait(self) -> str:
        self.reached.set()
        try:
            await self.open.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise
        return "waited"

    async def begun(self) -> None:
        with anyio.fail_after(SECONDS):
            await self.reached.wait()

    def broker(self, **options: Any) -> Broker:
        broker = Broker(**options)
        broker.tool("wait")(self.wait)

        @broker.tool("echo")
        async def echo(value: Any) -> Any:
            return value

        @broker.tool("fail")
        async def fail() -> None:
            raise ValueError("no luck")

        return broker


class Server:
    """A running server, and the broker behind it. ``url`` is its address, as ``http://…``."""

    def __init__(self, broker: Broker, url: str) -> None:
        self.broker = broker
        self.url = url
        at = urlsplit(url)
        self.address = str(at.hostname), at.port or 80

    async def session(self, **options: Any) -> Session:
        """A session of whoever comes without credentials."""
        return await self.broker.create_session(principal=Principal.anonymous(), **options)

    async def post(self, path: str, body: Any) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            return await client.post(path, json=body)

    async def lines(self, session_id: str, query: str = "") -> list[str]:
        """The NDJSON of a session that has ended."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            answer = await client.get(f"/sessions/{session_id}/stream{query}")
        return answer.text.splitlines()

    def socket(
        self, session_id: str, query: str = "", **options: Any
    ) -> AbstractAsyncContextManager[Socket]:
        """A connection to ``/sessions/{id}/ws``; ``options`` are those of ``connect``."""
        return self.opened(f"/sessions/{session_id}/ws{query}", **options)

    @asynccontextmanager
    async def opened(self, path: str, **options: Any) -> AsyncIterator[Socket]:
        url = f"ws://{self.address[0]}:{self.address[1]}{path}"
        async with connect(url, proxy=None, max_size=None, **options) as connection:
            yield Socket(connection)
