"""The example of several brokers: its files are whole, and two such brokers are one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from redis_servers.server import own_server

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/compose"


def compose() -> Any:
    return yaml.safe_load((EXAMPLE / "compose.yaml").read_text())


def test_what_the_files_name_is_there() -> None:
    broker = compose()["services"]["broker"]
    dockerfile = EXAMPLE / broker["build"]["context"] / broker["build"]["dockerfile"]
    copied = re.findall(r"^COPY (\S+) ", dockerfile.read_text(), re.MULTILINE)
    assert copied[0] == "."
    assert [one for one in copied if not (ROOT / one).exists()] == []
    asked = re.search(r"-r (\S+) \./(\S+)", dockerfile.read_text())
    assert asked is not None
    assert [one for one in asked.groups() if not (ROOT / one).exists()] == []
    for volume in compose()["services"]["front"]["volumes"]:
        assert (EXAMPLE / volume.partition(":")[0]).exists()


def test_every_variable_of_the_configuration_is_set() -> None:
    wanted = set(re.findall(r"\$\{(?:env|secret):(\w+)", (EXAMPLE / "broker.toml").read_text()))
    assert wanted == set(compose()["services"]["broker"]["environment"])


@contextmanager
def running(place: Path, variables: dict[str, str]) -> Iterator[str]:
    """The command of the image, with another address to listen on."""
    command = [sys.executable, "-m", "enclave_broker_cli", "serve", "--json", "--port", "0"]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--config", str(place / "broker.toml")],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def asked(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def test_two_brokers_of_the_example_are_one(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "broker.toml", tmp_path)
    shutil.copy(ROOT / "examples/demo/tools.py", tmp_path)
    with ExitStack() as stack:
        server = stack.enter_context(own_server())
        variables = {
            **os.environ,
            "REDIS_URL": server.url,
            "TICKET_KEY": "t" * 32,
            "DURABLE_KEY": "d" * 32,
        }
        one = stack.enter_context(running(tmp_path, variables))
        other = stack.enter_context(running(tmp_path, variables))
        made = asked(f"{one}/sessions", {"durable": True})
        path = f"/sessions/{made['sessionId']}"
        assert asked(f"{other}{path}")["state"] == "running"
        [first, *_] = asked(f"{other}/tools")["tools"]
        call = asked(f"{other}{path}/tool-calls", {"name": "dist:list", "args": {}})
        assert first["name"]
        assert call["ok"] is True, call
        assert asked(f"{one}{path}/tool-calls")["total"] == 1
