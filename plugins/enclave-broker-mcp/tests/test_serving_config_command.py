"""What ``enclave-broker mcp config`` prints is what clients have in their files, and works."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from enclave_broker_mcp.serving.client_files import client_files
from enclave_broker_mcp.serving.command import mcp_application
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_served import PATIENCE
from typer.testing import CliRunner, Result

from enclave_broker_core.errors import ConfigError

PROGRAM = str(Path(sys.executable).with_name("enclave-broker"))
TOOLS = '''
from enclave_broker_core import tool

@tool("hello")
def hello() -> str:
    """Greet."""
    return "hello"
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in which there is a configuration."""
    (tmp_path / "broker.toml").write_text('[[tools]]\nuse = "python"\nmodule = "tools.py"\n')
    (tmp_path / "tools.py").write_text(TOOLS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(*options: str) -> Result:
    return CliRunner().invoke(mcp_application(), ["config", *options])


def entry_of(folder: Path) -> dict[str, Any]:
    return {"command": PROGRAM, "args": ["mcp", "-c", str(folder / "broker.toml")]}


def test_the_clients_have_tables_of_their_own(folder: Path) -> None:
    entry = entry_of(folder)
    printed = {name: json.loads(config("--client", name).stdout) for name in client_files()}
    assert printed == {
        "claude-desktop": {"mcpServers": {"enclave-broker": entry}},
        "cursor": {"mcpServers": {"enclave-broker": entry}},
        "vscode": {"servers": {"enclave-broker": {"type": "stdio", **entry}}},
    }


def test_a_server_that_is_reached_has_a_url() -> None:
    options = ("--url", "https://broker.example/mcp", "--name", "tools")
    cursor = json.loads(config("--client", "cursor", *options).stdout)
    assert cursor == {"mcpServers": {"tools": {"url": "https://broker.example/mcp"}}}
    vscode = json.loads(config("--client", "vscode", *options).stdout)
    assert vscode == {"servers": {"tools": {"type": "http", "url": "https://broker.example/mcp"}}}


def test_the_place_of_the_file_is_not_on_stdout(folder: Path) -> None:
    done = config("--client", "cursor")
    assert done.stderr == "For ~/.cursor/mcp.json:\n"
    done = config("--client", "cursor", "--json")
    assert (json.loads(done.stdout), done.stderr) == (
        {
            "client": "cursor",
            "file": "~/.cursor/mcp.json",
            "content": {"mcpServers": {"enclave-broker": entry_of(folder)}},
        },
        "",
    )


@pytest.mark.parametrize(
    ("platform", "environment", "place"),
    [
        ("darwin", {}, "~/Library/Application Support/Claude/claude_desktop_config.json"),
        ("win32", {"APPDATA": "C:/A"}, "C:/A/Claude/claude_desktop_config.json"),
        ("linux", {}, "~/.config/Claude/claude_desktop_config.json"),
        ("linux", {"XDG_CONFIG_HOME": "/x"}, "/x/Claude/claude_desktop_config.json"),
    ],
)
def test_where_claude_desktop_has_its_file(
    platform: str, environment: dict[str, str], place: str
) -> None:
    assert client_files(platform, environment)["claude-desktop"].place == place


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--url", "https://x.example/mcp"), "under Connectors"),
        (("--url", "https://x.example/mcp", "-c", "broker.toml", "--client", "cursor"), "--config"),
        (("-c", "none.toml"), "there is no configuration file none.toml"),
        ((), "name the configuration"),
    ],
)
def test_what_can_not_be_written_is_refused(
    options: tuple[str, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = config(*options)
    assert isinstance(done.exception, ConfigError)
    assert why in str(done.exception)
    assert done.stdout == ""


def test_a_client_elsewhere_starts_what_was_printed(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    [entry] = json.loads(config().stdout)["mcpServers"].values()
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    async def names() -> list[str]:
        server = StdioServerParameters(**entry, cwd=elsewhere)
        with anyio.fail_after(PATIENCE):
            async with Client(stdio_client(server)) as client:
                return [tool.name for tool in (await client.list_tools()).tools]

    assert anyio.run(names) == ["hello"]
