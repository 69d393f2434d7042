"""``enclave-broker run --url``: the program runs code on a real server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

import pytest
from anyio.from_thread import start_blocking_portal
from forked_program import ForkedProgram, Started
from server_thread import Server, served

from enclave_broker_core import Principal
from enclave_broker_core.contracts import Credentials
from enclave_broker_core.events import Event

Program = Callable[..., subprocess.CompletedProcess[str]]
PROGRAM = [sys.executable, "-m", "enclave_broker_cli"]
SECONDS = 60
TOKEN = "a-token-of-ada"
ECHO = 'await call_tool("test:echo", {"value": 1})\n'


class Known:
    """Knows one token."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        known = credentials.headers.get("authorization") == f"Bearer {TOKEN}"
        return Principal(id="ada") if known else None


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(served(portal, authenticators=[Known()])) as server,
    ):
        yield server


@pytest.fixture
def there(
    program: Program, server: Server, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs code on the server: ``there("print(1)", "--quiet")``."""
    monkeypatch.setenv("ADA", TOKEN)

    def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
        return program("run", "--url", server.url, "--token-env", "ADA", *options, "-", stdin=code)

    return run


def test_it_shows_what_a_run_here_shows(there: Program, program: Program) -> None:
    code = 'print("one")\ntry:\n    await call_tool("no:tool")\nexcept ToolError: pass\n{"a": 1}'
    here, remote = program("run", "-", stdin=code), there(code)
    assert remote.stdout == here.stdout == 'one\n{\n  "a": 1\n}\n'
    assert remote.returncode == here.returncode == 0
    varying = re.compile(r"\d+\.\d{3}|s_\S+|\S+Z|\d+ ms")
    assert varying.sub("…", remote.stderr) == varying.sub("…", here.stderr)
    assert len(remote.stderr.splitlines()) == 4


def test_json_is_the_servers_log(there: Program, server: Server) -> None:
    done = there('await call_tool("test:echo", {"value": 1})', "--json")
    events = [Event.from_json(line) for line in done.stdout.splitlines()]
    assert events == server.log(events[0].session_id)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("code", "options", "said", "exit_code"),
    [
        ("1 / 0", [], "RUNTIME_ERROR: ", 1),
        ("while True: pass", ["--run-timeout", "0.2"], "DEADLINE_EXCEEDED: ", 3),
        ("1", ["--runtime", "none"], "no runtime named 'none'", 1),
        ("#" * 300_000, [], "PAYLOAD_TOO_LARGE: the code is longer", 3),
        ('await call_tool("test:count", {"name": "x"})', ["--allow", "a:*"], "ACCESS_DENIED", 1),
        (ECHO * 2, ["--max-tool-calls", "1"], "MAX_TOOL_CALLS", 1),
    ],
)
def test_it_leaves_with_the_code_of_its_outcome(
    there: Program, code: str, options: list[str], said: str, exit_code: int
) -> None:
    done = there(code, "--quiet", *options)
    assert said in done.stderr
    assert "enclave_broker_c" not in done.stderr  # as a traceback of the program would have it
    assert done.returncode == exit_code


def test_who_is_not_known(
    server: Server, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = ["--url", server.url]
    done = program("run", *url, "--json", "-", stdin="1")
    assert '"code":"UNAUTHENTICATED"' in done.stdout
    assert done.stderr.startswith("UNAUTHENTICATED: ")
    assert done.returncode == 2
    missing = program("run", *url, "--token-env", "NOBODY", "-", stdin="1")
    assert missing.stderr == (
        "CONFIG_ERROR: --token-env: there is no variable NOBODY with a token in it\n"
    )
    assert missing.returncode == 2
    monkeypatch.setenv("ADA", "two words of a secret")
    wrong = program("run", *url, "--token-env", "ADA", "-", stdin="1")
    assert wrong.stderr.startswith("CONFIG_ERROR: the token")
    assert "secret" not in wrong.stderr
    assert wrong.returncode == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--url", "http://127.0.0.1:1", "--principal", "ada"], "--principal"),
        (["--url", "http://127.0.0.1:1", "--timeout", "3"], "--timeout"),
        (["--url", "http://127.0.0.1:1", "--config", "broker.toml"], "--config"),
        (["--token-env", "ADA"], "--token-env"),
        (["--url", "nowhere"], "the base URL must begin with http://"),
    ],
)
def test_what_can_not_be_asked_of_a_server(program: Program, options: list[str], said: str) -> None:
    done = program("run", *options, "-", stdin="1")
    assert said in done.stderr
    assert done.returncode == 2


def test_the_configuration_here_does_not_count(there: Program, place: object) -> None:
    (place / "broker.toml").write_text("this is no TOML")  # type: ignore[operator]
    assert there("print(1)", "--quiet").stdout == "1\n"


@contextmanager
def _begun(forked: ForkedProgram, server: Server, name: str) -> Iterator[tuple[Started, IO[str]]]:
    """A run that is in the middle of a call, and the rest of its stdout."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as said:
        with (
            os.fdopen(writing, "wb") as stdout,
            TemporaryFile() as stdin,
            TemporaryFile() as stderr,
        ):
            stdin.write(f'await call_tool("test:wait", {{"name": "{name}"}})'.encode())
            stdin.seek(0)
            arguments = ["run", "--json", "--url", server.url, "--token-env", "ADA", "-"]
            streams = [one.fileno() for one in (stdin, stdout, stderr)]
            run = forked.start(arguments, os.environ, streams)
        try:
            for line in said:
                if Event.from_json(line).type == "tool_call":
                    break
            yield run, said
        finally:
            run.kill()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_session(
    forked: ForkedProgram,
    server: Server,
    number: signal.Signals,
    exit_code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADA", TOKEN)
    with _begun(forked, server, number.name) as (run, said):
        run.send_signal(number)
        *_, final = [Event.from_json(line) for line in said]
        assert final.payload["error"]["message"] == f"interrupted by {number.name}"
        assert run.wait(SECONDS) == exit_code


def test_nobody_reads_any_more(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADA", TOKEN)
    code = (
        'for n in range(200):\n    print("x" * 1000)\nawait call_tool("test:wait", {"name": "r"})'
    )
    with subprocess.Popen(
        [*PROGRAM, "run", "--url", server.url, "--token-env", "ADA", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(code.encode())
        process.stdin.close()
        session_id = process.stderr.readline().decode().split()[2]
        assert process.stdout.readline() == b"x" * 1000 + b"\n"
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(SECONDS) == 141
    assert server.log(session_id)[-1].payload["error"]["message"] == "nobody reads the output"
