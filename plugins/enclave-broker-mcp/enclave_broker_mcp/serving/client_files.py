"""What MCP clients have in their files for a server, and where these files are."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from enclave_broker_core.errors import ConfigError

Client = Literal["claude-desktop", "cursor", "vscode"]


@dataclass(frozen=True)
class ClientFile:
    """One client's: the table of servers in it, and whether an entry says of what type it is."""

    place: str
    table: str
    typed: bool = False
    takes_urls: bool = True

    def with_program(self, name: str, command: Sequence[str]) -> dict[str, Any]:
        """The file's content with a server that the client starts, and no other one."""
        program, *arguments = command
        entry = {"command": program, "args": arguments}
        return {self.table: {name: {"type": "stdio", **entry} if self.typed else entry}}

    def with_url(self, name: str, url: str) -> dict[str, Any]:
        """The same with a server that the client reaches. ConfigError if there is no such entry."""
        if not self.takes_urls:
            raise ConfigError(
                "Claude Desktop has no servers with a URL in its file: add it in its settings,"
                " under Connectors, or leave --url out"
            )
        return {self.table: {name: {"type": "http", "url": url} if self.typed else {"url": url}}}


def client_files(
    platform: str = sys.platform, environment: Mapping[str, str] = os.environ
) -> Mapping[Client, ClientFile]:
    """Those of the clients that are known, where they are on such a system."""
    if platform == "darwin":
        folder = "~/Library/Application Support"
    elif platform == "win32":
        folder = environment.get("APPDATA", "%APPDATA%")
    else:
        folder = environment.get("XDG_CONFIG_HOME") or "~/.config"
    claude = f"{folder}/Claude/claude_desktop_config.json"
    return MappingProxyType(
        {
            "claude-desktop": ClientFile(claude, "mcpServers", takes_urls=False),
            "cursor": ClientFile("~/.cursor/mcp.json", "mcpServers"),
            "vscode": ClientFile(".vscode/mcp.json", "servers", typed=True),
        }
    )


def serving_command(files: Sequence[Path]) -> list[str]:
    """How a client starts the broker: it has its own working directory and its own PATH."""
    program = Path(sys.executable).with_name("enclave-broker")
    if program.is_file():
        command = [str(program)]
    elif Path(sys.argv[0]).name == "enclave-broker":
        command = [str(Path(sys.argv[0]).absolute())]
    else:
        raise ConfigError("the program enclave-broker is not installed with this Python")
    command.append("mcp")
    for file in files:
        command += ["-c", str(file.absolute())]
    return command
