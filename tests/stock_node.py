"""Runs the JavaScript client that behaves as the stock one does, in Node."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

NODE = shutil.which("node")
MISSING = "there is no node: install Node.js 18 or later (apt-get install nodejs)"
CLIENT = Path(__file__).parents[1] / "plugins/enclave-broker-server/tests/stock_client/client.mjs"
PATIENCE = 60.0


@dataclass(frozen=True)
class Report:
    """What the client saw: the events that it took, the lines that it dropped and why."""

    session_id: str
    outcome: dict[str, Any]
    events: list[dict[str, Any]]
    dropped: list[dict[str, str]]
    requests: list[dict[str, Any]]
    tool_calls: int

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def seqs(self) -> list[int]:
        return [event["seq"] for event in self.events if event["type"] != "heartbeat"]

    @property
    def asked(self) -> list[str]:
        """Its requests, with the session's id left out."""
        return [
            f"{request['method']} {request['url'].replace(self.session_id, 'ID')}"
            for request in self.requests
        ]


async def stock_client(url: str, code: Path, *options: str) -> Report:
    """Run code on a server, in a process of its own, until the client knows its outcome."""
    assert NODE is not None, MISSING
    command = [NODE, str(CLIENT), "--base", url, "--code", str(code), *options]
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(command, check=False)
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    return Report(
        said["sessionId"],
        said["outcome"],
        said["events"],
        said["dropped"],
        said["requests"],
        said["toolCalls"],
    )
