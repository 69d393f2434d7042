"""``enclave-broker tools import``: what a person and a program see of a document."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from enclave_broker_network.errors import RefusedError, UnreachableError
from enclave_broker_openapi.config import OpenapiConfig
from enclave_broker_openapi.import_command import import_command
from enclave_broker_openapi.importing import look
from openapi_documents import paths
from pydantic_core import to_json
from typer.testing import CliRunner

from enclave_broker_core.errors import ConfigError

DOCUMENT = paths(
    good={
        "summary": "Does \x1b[31mgood",
        "tags": ["a"],
        "parameters": [{"name": "q", "in": "query"}],
    },
    bad={"parameters": [{"$ref": "#/gone"}]},
    guarded={"security": [{"key": []}]},
    guarded_too={"security": [{"key": []}]},
)
DOCUMENT["info"]["title"] = "A \x07service"


class Service:
    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        status = 200 if scope["path"] == "/openapi.json" else 404
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": to_json(DOCUMENT)})


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "enclave_broker_cli", "tools", "import", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env={"PATH": "", "COLUMNS": "80", **environment},
    )


def test_what_a_person_sees(serve: Any, tmp_path: Path) -> None:
    url = serve(Service())
    done = run(tmp_path, f"{url}/openapi.json", "--name", "svc", "--exclude", "*_too")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout
        == f"""\
A \N{REPLACEMENT CHARACTER}service, OpenAPI 3.1: 2 tools, 1 broken, 1 left out

  svc:good     GET /good
  svc:guarded  GET /guarded

No tools, because:
  GET /bad: it refers to '#/gone': there is no such place

With a warning:
  https://api.example.com/v1: a request to api.example.com is refused: the host is not among \
the allowed ones; 'network' or 'server' may allow it
  GET /guarded: it wants key, for which no credentials are configured

In the configuration:

[[tools]]
use = "openapi"
name = "svc"
spec = "{url}/openapi.json"
exclude = ["*_too"]
network = {{ schemes = ["http", "https"], allow_private = ["loopback"], \
hosts = ["api.example.com"] }}
"""
    )


def test_what_a_program_sees(serve: Any, tmp_path: Path) -> None:
    service = Service()
    url = serve(service)
    done = run(
        tmp_path, f"{url}/openapi.json", "--json", "--bearer-from", "TOKEN", TOKEN="the-token"
    )
    shown = json.loads(done.stdout)
    assert [tool["name"] for tool in shown["tools"]] == [
        "api:good",
        "api:guarded",
        "api:guarded_too",
    ]
    assert shown["tools"][0] == {
        "name": "api:good",
        "external_name": "api_good",
        "operation": "GET /good",
        "operation_id": "good",
        "description": "Does \x1b[31mgood",
        "arguments": ["q"],
        "required": [],
        "read_only": True,
        "idempotent": True,
        "deprecated": False,
        "tags": ["a"],
        "server": "https://api.example.com/v1",
    }
    assert [broken["operation"] for broken in shown["broken"]] == ["GET /bad"]
    assert shown["servers"][0]["url"] == "https://api.example.com/v1"
    assert service.headers[0]["authorization"] == "Bearer the-token"
    assert "the-token" not in done.stdout


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "api.json").write_bytes(to_json(DOCUMENT))
    done = run(tmp_path, "api.json", "--json", "--include", "good")
    shown = json.loads(done.stdout)
    assert [tool["name"] for tool in shown["tools"]] == ["api:good"]
    # What stands in the operator's own file may be reached.
    assert shown["servers"] == [{"url": "https://api.example.com/v1", "refused": None}]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["gone.json"], ConfigError, "there is no such file"),
        (["http://127.0.0.1:1/x"], UnreachableError, "127.0.0.1 can't be reached"),
        (["http://169.254.169.254/x"], RefusedError, "a request to 169.254.169.254 is refused"),
        (["x.json", "--include", "a[b"], ConfigError, "include"),
        (["no-document.json"], ConfigError, "it is not an OpenAPI document"),
        (["x.json", "--bearer-from", "NOBODY"], SystemExit, "NOBODY is not set"),
        ([], SystemExit, "Missing argument"),
    ],
)
def test_what_goes_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    error: type[BaseException],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no-document.json").write_text("{}")
    done = CliRunner().invoke(import_command().build(), arguments)
    assert isinstance(done.exception, error)
    assert said in (done.stderr if error is SystemExit else str(done.exception))
    assert done.stdout == ""


def test_an_error_is_told_as_by_any_command(tmp_path: Path) -> None:
    done = run(tmp_path, "gone.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "CONFIG_ERROR: there is no such file\n"


@pytest.mark.anyio
async def test_the_table_that_is_shown_works(serve: Any, open_tools: Any) -> None:
    import tomllib

    url = serve(Service())
    given = OpenapiConfig.model_validate({"spec": f"{url}/openapi.json", "include": ["good"]})
    preview = await look(given)
    [table] = tomllib.loads("\n".join(preview.toml()))["tools"]
    assert table.pop("use") == "openapi"
    async with open_tools(**table) as provider:
        assert [tool.spec.name for tool in await provider.tools()] == ["openapi:good"]
