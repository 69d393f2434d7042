"""The real program: what it exports while it serves and when it is told to stop, and its log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from collector import Collector

CONFIG = """
[access]
default = "allow"
[runtime]
use = "monty"
workers = 1
[[tools]]
use = "python"
module = "tools.py"
[[middleware]]
use = "logging"
[[sinks]]
use = "otel"
metrics = ["otlp", "prometheus"]
[[routes]]
use = "prometheus"
roles = []
[logging]
format = "json"
"""
TOOLS = """
from enclave_broker_core import tool

@tool("double")
async def double(n: int) -> int:
    return 2 * n
"""


def test_the_command_exports_all_when_it_stops(got: Collector, tmp_path: Path) -> None:
    (tmp_path / "broker.toml").write_text(CONFIG)
    (tmp_path / "tools.py").write_text(TOOLS)
    command = [sys.executable, "-m", "enclave_broker_cli", "serve", "--json", "--port", "0"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "OTEL_EXPORTER_OTLP_ENDPOINT": got.url,
        "OTEL_SERVICE_NAME": "served",
        "ENCLAVE_BROKER_CONFIG": str(tmp_path / "broker.toml"),
    }
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            code = {"code": "await call_tool('double', {'n': 21})", "sessionId": "s_1"}
            done = httpx.post(f"{url}/sessions", json=code, timeout=20)
            assert '"type":"final"' in done.text
            page = httpx.get(f"{url}/metrics", timeout=20).text
            process.send_signal(signal.SIGTERM)
            _, stderr = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert 'enclave_sandbox_workers{enclave_runtime="monty",enclave_worker_state="busy"}' in page
    assert got.tree() == [
        ["POST /sessions", ["session", ["run", ["execute_tool double"]]]],
        ["GET /metrics"],
    ]
    assert {resource["service.name"] for resource in got.resources} == {"served"}
    (call,) = got.named("execute_tool double")
    lines = [json.loads(line) for line in stderr.decode().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["logger"] == "enclave_broker.calls"]
    assert (line["session"], line["trace"], line["principal"]) == ("s_1", call.trace, "anonymous")
