"""``enclave-broker serve``, seen from outside: the real program."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from forked_program import ForkedProgram

from enclave_broker_core import load_plugins
from enclave_broker_core.config_schema import config_schema

TOOLS = """
from enclave_broker_core import tool

@tool("one")
def one() -> int:
    return 1
"""
CONFIG = """
[access]
default = "allow"
[[tools]]
use = "python"
module = "tools.py"
"""
RUNTIME = """
[runtime]
use = "monty"
workers = 1
"""
KEYS = """
[[authenticators]]
use = "api_keys"
keys = [{ hash = "%s", id = "ada" }]
"""
PATIENCE = 30.0


def test_it_says_where_it_listens_and_serves(started_anew: Any) -> None:
    with started_anew(config=RUNTIME) as it:
        assert it.said.keys() == {"url", "host", "port", "workers"}
        assert it.said["host"] == "127.0.0.1"
        assert it.said["url"] == f"http://127.0.0.1:{it.said['port']}"
        assert it.stderr == f"listening on {it.url}\n"
        with httpx.Client(base_url=it.url) as client:
            assert client.get("/health").json() == {"status": "ok"}
            body = {"code": "1 + 1"}
            lines = client.post("/sessions", json=body).text.splitlines()
            assert json.loads(lines[-1])["payload"]["result"] == 2
        assert it.stop() == 0


def test_options_go_over_the_configuration(started: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = f"[server]\nport = {port}\nhost = 'no.such.name.invalid'\n"
        with started("--host", "localhost", config=config) as it:
            assert it.said["host"] == "localhost"
            assert it.said["port"] not in (0, port)
            assert httpx.get(f"{it.url}/health").status_code == 200


@pytest.mark.parametrize(
    ("options", "config", "said"),
    [
        ((), "[server]\nprot = 1", ["broker.toml:2: server.prot: there is no such key", "'port'"]),
        ((), "[server.limits]\nmax_headers = 0", ["broker.toml:2: server.limits.max_headers"]),
        (("--host", "0.0.0.0"), "", ["without [[authenticators]]", "'0.0.0.0'", "--insecure"]),
        (("--host", "::"), "", ["loopback addresses only"]),
        (("--host", ""), "", ["loopback addresses only"]),
        (("--host", "no.such.name.invalid"), "", ["can't listen on 'no.such.name.invalid'"]),
        (("--workers", "2"), "", ["2 workers need a session store", "'memory'"]),
        (("--port", "70000"), "", ["--port", "65535"]),
        (("--config", "elsewhere.toml"), "", ["there is no configuration file elsewhere.toml"]),
    ],
)
def test_a_mistake_is_told_and_nothing_is_served(
    forked: ForkedProgram,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    config: str,
    said: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENCLAVE_BROKER_CONFIG", raising=False)
    (tmp_path / "broker.toml").write_text(config)
    port = () if "--port" in options else ("--port", "0")
    done = forked.run(["serve", "--json", *port, *options], os.environ)
    assert (done.returncode, '"url"' in done.stdout) == (2, False)
    assert [text for text in said if text not in done.stderr] == []
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken(started: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started("--port", str(port)) as it:
            assert it.code() == 2
            assert f"can't listen on http://127.0.0.1:{port}: " in it.stderr


@pytest.mark.parametrize("how", ["option", "configuration"])
def test_insecure_is_loud(started: Any, how: str) -> None:
    options = ["--insecure"] if how == "option" else []
    config = "" if how == "option" else "[server]\ninsecure = true\n"
    with started("--host", "0.0.0.0", *options, config=config) as it:
        assert "WARNING: INSECURE: whoever reaches '0.0.0.0'" in it.stderr
        assert httpx.get(f"http://127.0.0.1:{it.said['port']}/health").status_code == 200


def test_with_an_authenticator_it_listens_anywhere(started: Any) -> None:
    from enclave_broker_server.api_keys import hash_of, new_key

    key = new_key()
    with started("--host", "0.0.0.0", config=KEYS % hash_of(key)) as it:
        assert "INSECURE" not in it.stderr
        with httpx.Client(base_url=f"http://127.0.0.1:{it.said['port']}") as client:
            assert client.get("/tools").status_code == 401
            shown = client.get("/tools", headers={"Authorization": f"Bearer {key}"})
            assert shown.status_code == 200


def test_a_hangup_reads_the_configuration_again(started: Any) -> None:
    with started(config=CONFIG, tools=TOOLS) as it, httpx.Client(base_url=it.url) as client:
        names = [tool["name"] for tool in client.get("/tools").json()["tools"]]
        assert names == ["one"]
        (it.place / "tools.py").write_text(TOOLS + TOOLS.replace("one", "two"))
        it.tell(signal.SIGHUP)
        until(lambda: len(client.get("/tools").json()["tools"]) == 2)
        (it.place / "broker.toml").write_text("[server]\nprot = 1\n")
        it.tell(signal.SIGHUP)
        until(lambda: "the configuration stays as it was" in it.stderr)
        assert len(client.get("/tools").json()["tools"]) == 2
        assert it.stop() == 0


def test_it_logs_as_configured(started: Any) -> None:
    with started(config='[logging]\nformat = "json"\n') as it:
        httpx.get(f"{it.url}/health?ticket=hush")
        until(lambda: "/health" in it.stderr)
        line = it.stderr.splitlines()[1]
        said = json.loads(line)
        assert (said["logger"], said["path"], said["status"]) == (
            "enclave_broker.access",
            "/health",
            200,
        )
        assert "hush" not in line


def test_the_schema_has_its_table() -> None:
    schema = config_schema(load_plugins({"plugins": ["server", "memory"]}))
    assert schema["$defs"]["ServerSettings"]["properties"]["ticket_key"]["writeOnly"] is True
    assert schema["properties"]["server"]["$ref"] == "#/$defs/ServerSettings"


def until(true: Any) -> None:
    """Ask until it is so."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
