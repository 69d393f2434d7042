"""A server in the test's own process, the real command, and bytes over a connection."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    chdir,
    contextmanager,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import anyio
import httptools
import httpx
import pytest
from anyio.abc import SocketStream
from enclave_broker_server.listening import listen, serving_at, url_of
from enclave_broker_server.settings import ServerSettings
from forked_program import ForkedProgram, Started, forked_program
from http_client import Client
from starlette.types import ASGIApp
from wire_check import Checked

from enclave_broker_core import Broker, SessionLimits, use

Serving = Callable[..., AbstractAsyncContextManager[str]]
PATIENCE = 20.0


@dataclass
class Answered:
    """One answer; header names are in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Wire:
    """A connection on which a test writes bytes and reads answers."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._parser = httptools.HttpResponseParser(self)
        self._coming = Answered()
        self._answers: list[Answered] = []

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator[Self]:
        at = urlsplit(url)
        async with await anyio.connect_tcp(str(at.hostname), at.port or 80) as stream:
            yield cls(stream)

    async def send(self, *pieces: bytes | str) -> None:
        """Write pieces one after the other; what the other side does not want is left out."""
        try:
            for piece in pieces:
                await self._stream.send(piece.encode() if isinstance(piece, str) else piece)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass

    async def end(self) -> None:
        """Say that nothing more is sent."""
        await self._stream.send_eof()

    async def answer(self) -> Answered:
        """The next whole answer."""
        with anyio.fail_after(PATIENCE):
            while not self._answers:
                self._parser.feed_data(await self._stream.receive())
        return self._answers.pop(0)

    async def until(self, text: bytes) -> bytes:
        """What comes until this has come."""
        found = b""
        with anyio.fail_after(PATIENCE):
            while text not in found:
                found += await self._stream.receive()
        return found

    async def rest(self) -> bytes:
        """All that comes until the other side closes."""
        pieces = []
        with anyio.fail_after(PATIENCE):
            try:
                while True:
                    pieces.append(await self._stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return b"".join(pieces)

    # What the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._coming.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._coming.body += body

    def on_message_complete(self) -> None:
        self._coming.status = self._parser.get_status_code()
        self._answers.append(self._coming)
        self._coming = Answered()


@pytest.fixture
def connect() -> Callable[[str], AbstractAsyncContextManager[Wire]]:
    """``async with connect(url) as wire``: bytes out, answers in."""
    return Wire.to


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """uvicorn runs on asyncio only, and ``enclave-broker serve`` on uvloop."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def serving_app() -> Serving:
    """Serves any ASGI application on a free port: ``async with serving_app(app) as url``."""

    @asynccontextmanager
    async def serve(app: ASGIApp, settings: ServerSettings | None = None) -> AsyncIterator[str]:
        sockets = listen("127.0.0.1", 0)
        async with serving_at(sockets, app, settings or ServerSettings()):
            yield url_of(*sockets[0].getsockname())

    return serve


@pytest.fixture
def serving(serving_app: Serving) -> Serving:
    """Serves an open broker, with the options of ``create_app``: ``async with serving(broker)``.

    It yields the base URL. Every event that is sent is checked against the wire's schema.
    """
    from enclave_broker_server.app import create_app

    @asynccontextmanager
    async def serve(broker: Broker, **options: Any) -> AsyncIterator[str]:
        app = Checked(create_app(broker, **options))
        async with serving_app(app, options.get("settings")) as url:
            yield url
        assert app.found == []

    return serve


@pytest.fixture
def opened(serving: Serving) -> Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Opens a broker, serves it and connects: ``async with opened(broker, ...) as http``."""

    @asynccontextmanager
    async def open_all(broker: Broker, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with (
            broker,
            serving(broker, **options) as url,
            httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http,
        ):
            yield http

    return open_all


@dataclass
class Running:
    """``enclave-broker serve`` as a process of its own, in a directory with its files."""

    process: Started | subprocess.Popen[bytes]
    place: Path
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return str(self.said["url"])

    @property
    def stderr(self) -> str:
        return (self.place / "stderr").read_text()

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def code(self) -> int:
        """Its exit code, when it has ended."""
        return self.process.wait(60)

    def stop(self) -> int:
        self.tell(signal.SIGTERM)
        return self.code()


StartCommand = Callable[..., AbstractContextManager[Running]]
Begin = Callable[[list[str], list[int]], Started | subprocess.Popen[bytes]]
# What a server imports when it opens.
OF_A_SERVER = (
    "enclave_broker_memory.store",
    "enclave_broker_monty.runtime",
    "enclave_broker_server.process",
    "uvloop",
)


@pytest.fixture(scope="session")
def forked() -> Iterator[ForkedProgram]:
    """Runs ``enclave-broker`` without the time that its imports take."""
    with forked_program(*OF_A_SERVER) as program:
        yield program


@pytest.fixture
def started(forked: ForkedProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartCommand:
    """Runs ``enclave-broker serve`` on a free port: ``with started(*options, config=…) as it``.

    ``config`` is a TOML text, ``files`` are more files beside it, by name. A command that
    ends instead of serving has no ``said``. It is forked, so there is one at a time.
    """
    monkeypatch.delenv("ENCLAVE_BROKER_CONFIG", raising=False)

    def begin(arguments: list[str], streams: list[int]) -> Started:
        with chdir(tmp_path):
            return forked.start(arguments, os.environ, streams)

    return _starting(begin, tmp_path)


@pytest.fixture
def started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartCommand:
    """The same as a process that imports all by itself."""
    monkeypatch.delenv("ENCLAVE_BROKER_CONFIG", raising=False)

    def begin(arguments: list[str], streams: list[int]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "enclave_broker_cli", *arguments]
        stdin, stdout, stderr = streams
        return subprocess.Popen(command, cwd=tmp_path, stdin=stdin, stdout=stdout, stderr=stderr)

    return _starting(begin, tmp_path)


def _starting(begin: Begin, place: Path) -> StartCommand:
    @contextmanager
    def start(*options: str, config: str = "", **files: str) -> Iterator[Running]:
        (place / "broker.toml").write_text(config)
        for name, text in files.items():
            (place / f"{name}.py").write_text(text)
        port = () if "--port" in options else ("--port", "0")
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as said:
            with (
                os.fdopen(writing, "wb") as stdout,
                (place / "stderr").open("wb") as stderr,
                Path(os.devnull).open("rb") as stdin,
            ):
                streams = [one.fileno() for one in (stdin, stdout, stderr)]
                process = begin(["serve", "--json", *port, *options], streams)
            try:
                running = Running(process, place)
                line = said.readline()
                if b'"url"' in line:
                    running.said = json.loads(line)
                yield running
            finally:
                process.kill()
                process.wait()

    return start


@pytest.fixture
async def client(opened: Any) -> AsyncIterator[Client]:
    broker = Broker(runtime=use("monty", workers=1), limits=SessionLimits(max_code_bytes=1000))

    @broker.tool("users:get")
    async def get(id: int) -> dict[str, Any]:
        """Look a user up."""
        return {"id": id, "name": None}

    async with opened(broker) as http:
        yield Client(http)
