"""Mistakes in a source's table, each told with its place and what is near."""

from __future__ import annotations

from pathlib import Path

import pytest
from enclave_broker_openapi.config import OpenapiConfig

from enclave_broker_core.build import check


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "tools[0].spec: is missing"),
        ('spec = ""', "tools[0].spec: "),
        ('spec = "https://a b/"', "tools[0].spec: the URL has no host"),
        ('spec = "x"\ntimeout = 61', "timeout is longer than network.timeouts.total"),
        ('spec = "x"\nspecs = 1', "tools[0].specs: there is no such key; did you mean 'spec'?"),
        ('spec = "x"\nserver = "x"', "tools[0].server: the URL does not begin with http"),
        ('spec = "x"\nname = "a b"', "tools[0].name: a source's name has letters"),
        (
            'spec = "x"\nauth = { type = "bearer", tokn = "x" }',
            "did you mean 'token' or 'token_url'?",
        ),
        ('spec = "x"\nauth = { type = "bearer" }', "tools[0].auth.token: is missing"),
        ('spec = "x"\nauth = { a = { type = "x" } }', "tools[0].auth.a: Input tag 'x'"),
        ('spec = "x"\nheaders = { Host = "x" }', "'Host' is not the name of a header"),
        ('spec = "x"\narguments = { a = "{secret:X}" }', "'auth' and 'headers' only"),
        ('spec = "x"\ninclude = [{ tags = "x" }]', "did you mean 'tag'?"),
        ('spec = "x"\nrefresh = -1', "tools[0].refresh: "),
    ],
)
def test_mistakes(tmp_path: Path, table: str, said: str) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(f'[[tools]]\nuse = "openapi"\n{table}\n')
    mistakes = check(path)
    assert mistakes
    assert said in " ".join(mistakes)


def test_nothing_is_wrong_with_a_full_table(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(
        """
[[tools]]
use = "openapi"
name = "svc"
spec = "https://api.example.com/openapi.json"
auth = { type = "api_key", key = "Bot {secret:BOT}", name = "Authorization", in = "header" }
server = "https://eu.example.com/api"
server_variables = { region = "eu" }
include = ["list*", { tag = "a", method = "get", path = "/x/*", operation = "b" }]
exclude = [{ method = "DELETE" }]
rename = { "GET /a" = "a" }
description = "{summary} ({method} {path})"
arguments = { team = "red", limit = 3 }
headers = { X-Team = "{secret:TEAM}" }
header_lists = "lines"
timeout = 10
retries = { attempts = 2 }
refresh = 60
required = false
max_bytes = 1000000
max_operations = 100
network = { hosts = ["*.example.com"] }
"""
    )
    assert check(path) == []


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("https://x.example.com/a", "url"),
        ("HTTP://x.example.com/a", "url"),
        ("specs/a.yaml", "file"),
        ({"openapi": "3.1.0"}, "table"),
    ],
)
def test_where_a_document_is(spec: object, kind: str) -> None:
    assert OpenapiConfig.model_validate({"spec": spec}).kind == kind
