"""``enclave-broker mcp``: the command as a process, and what its wire is made of."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from enclave_broker_mcp.serving.process import Order, principal_of, serving_config
from enclave_broker_mcp.serving.settings import ServingConfig
from enclave_broker_mcp.serving.standard_streams import Lines, Output
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_served import INITIALIZE, PATIENCE, rpc, texts

from enclave_broker_core.config import Config
from enclave_broker_core.errors import ConfigError

TOOLS = """
import anyio
from enclave_broker_core import ToolContext, tool

@tool("who")
async def who(context: ToolContext) -> list[object]:
    print("a stray line")
    principal = context.session.principal
    return [principal.id, principal.tenant, sorted(principal.roles)]

@tool("big")
async def big(size: int) -> str:
    return "é" * size

@tool("wait")
async def wait() -> None:
    await anyio.sleep_forever()
"""
CONFIG = """
[[tools]]
use = "python"
module = "tools.py"
[limits]
max_argument_bytes = 1000
max_result_bytes = 4000000
[[routes]]
use = "mcp"
title = "Tools at home"
"""
COMMAND = (sys.executable, "-m", "enclave_broker_cli", "mcp")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tools.py").write_text(TOOLS)
    (tmp_path / "broker.toml").write_text(CONFIG)
    return tmp_path


@pytest.mark.anyio
async def test_a_client_starts_it_and_calls(place: Path) -> None:
    command, *arguments = COMMAND
    options = ["--principal", "ada", "--role", "admin", "--tenant", "acme", "--allow", "[wb]*"]
    parameters = StdioServerParameters(command=command, args=[*arguments, *options], cwd=place)
    with (place / "stderr").open("w+") as stderr:
        async with Client(stdio_client(parameters, errlog=stderr), mode="legacy") as client:
            with anyio.fail_after(PATIENCE):
                assert client.server_info is not None
                assert client.server_info.title == "Tools at home"
                names = [tool.name for tool in (await client.list_tools()).tools]
                who = await client.call_tool("who", {})
                big = await client.call_tool("big", {"size": 500_000})
                with anyio.move_on_after(0.2):
                    await client.call_tool("wait", {})
        stderr.seek(0)
        said = stderr.read()
    assert names == ["who", "big", "wait"]
    assert texts(who) == ['["ada","acme",["admin"]]']
    assert texts(big) == ["é" * 500_000]
    assert "a stray line" in said


@contextmanager
def running(place: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (place / "stderr").open("wb") as stderr,
        subprocess.Popen(
            [*COMMAND, *options],
            cwd=place,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def ask(process: subprocess.Popen[bytes], *messages: Any) -> dict[str, Any]:
    """Write messages, and read one."""
    assert process.stdin is not None
    assert process.stdout is not None
    for message in messages:
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        process.stdin.write(text + b"\n")
    process.stdin.flush()
    answer: dict[str, Any] = json.loads(process.stdout.readline())
    return answer


def test_broken_and_long_lines_are_passed_over_and_a_signal_ends_it(place: Path) -> None:
    with running(place) as process:
        begun = ask(process, b"{", b"\xff\xfe", b"x" * 200_000, INITIALIZE)
        assert begun["result"]["serverInfo"]["name"] == "enclave-broker"
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        too_long = rpc("tools/call", {"name": "big", "arguments": {"size": "9" * 2000}}, 5)
        assert ask(process, ready, too_long)["result"]["isError"] is True
        call = rpc("tools/call", {"name": "wait", "arguments": {}}, 6)
        assert ask(process, call, rpc("ping", id=7))["id"] == 7
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stdout is not None
        rest = [json.loads(line) for line in process.stdout]
    assert [answer["id"] for answer in rest] in ([], [6])
    said = (place / "stderr").read_text()
    assert "a message of more than 66536 bytes is dropped" in said
    assert "Traceback" not in said


def test_it_ends_with_its_input(place: Path) -> None:
    (place / "input").write_text(json.dumps(INITIALIZE) + "\n")
    with (place / "input").open("rb") as stdin:
        ended = subprocess.run(
            [*COMMAND, "--mode", "code"],
            cwd=place,
            stdin=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    [line] = ended.stdout.splitlines()
    assert json.loads(line)["result"]["capabilities"]["tools"] == {"listChanged": False}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mode": "none"}, "mode: Input should be 'tools', 'code' or 'both'"),
        ({"allowed_tools": 5}, "allowed_tools: Input should be a valid tuple"),
    ],
)
def test_a_mistake_on_the_command_line_is_told(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        serving_config(Config(), given)
    with pytest.raises(ConfigError, match="the principal's id: String should have at most 256"):
        principal_of(Order(principal="x" * 300))


def test_the_command_goes_by_the_table_of_the_routes() -> None:
    table = {"use": "mcp", "mode": "both", "name": "home", "max_sessions": 5}
    settings = Config.model_validate({"routes": [{"use": "other"}, table]})
    config = serving_config(settings, {"mode": "code", "allowed_tools": ["a:*"]})
    assert (config.mode, config.name, config.allowed_tools) == ("code", "home", ("a:*",))
    assert serving_config(Config(), {}) == ServingConfig()


def test_the_user_of_the_process_calls_unless_another_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    assert principal_of(Order()).id == "grace"
    assert principal_of(Order(principal="ada")).id == "ada"


# The wire


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_lines_come_whole_however_they_are_cut() -> None:
    reading, writing = os.pipe()
    lines = Lines(reading, 10)
    got: list[str] = []

    async def read() -> None:
        got.extend([line async for line in lines])

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for piece in (
                b"on",
                b"e\ntw",
                b"o\n\n",
                b"12345678901",
                b"234\n",
                b"\xc3",
                b"\xa9\nend",
            ):
                os.write(writing, piece)
                await anyio.wait_all_tasks_blocked()
                assert len(lines._read) <= 10
            os.close(writing)
    os.close(reading)
    assert got == ["one", "two", "", "", "é", "end"]


@pytest.mark.anyio
async def test_reading_and_writing_can_be_given_up() -> None:
    reading, writing = os.pipe()
    with anyio.fail_after(PATIENCE):
        with anyio.move_on_after(0.05) as idle:
            await anext(Lines(reading, 10))
        with anyio.move_on_after(0.05) as full:
            await Output(writing).write("x" * 10_000_000)
    assert idle.cancelled_caught
    assert full.cancelled_caught
    os.close(reading)
    with pytest.raises(anyio.ClosedResourceError):
        await Output(writing).write("x")
    os.close(writing)
