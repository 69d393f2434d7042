"""What the table of the routes may say."""

from __future__ import annotations

from typing import Any

import pytest
from enclave_broker_mcp.serving.settings import HttpConfig
from pydantic import ValidationError

from enclave_broker_core import build


def test_every_key_is_described() -> None:
    properties = HttpConfig.model_json_schema()["properties"]
    assert len(properties) == len(HttpConfig.model_fields)
    assert [name for name, schema in properties.items() if not schema.get("description")] == []


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"mode": "everything"}, "mode"),
        ({"path": "mcp"}, "path"),
        ({"path": "/mcp/"}, "path"),
        ({"path": "/{name}"}, "path"),
        ({"allowed_tools": ["a{b"]}, "pattern"),
        ({"max_calls": 0}, "max_calls"),
        ({"idle_timeout": 0}, "idle_timeout"),
        ({"resource": "https://broker.example/mcp"}, "go together"),
        ({"authorization_servers": ["https://login.example"]}, "go together"),
        ({"resource": "no url", "authorization_servers": ["https://x.example"]}, "resource"),
        ({"modes": "code"}, "modes"),
    ],
)
def test_mistakes_are_told(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        HttpConfig.model_validate(table)


def test_the_configuration_takes_it() -> None:
    routes = [{"use": "mcp", "mode": "both", "path": "/agents/mcp", "idle_timeout": 60}]
    assert build.check({"routes": routes}) == []
    [problem] = build.check({"routes": [{"use": "mcp", "mod": "both"}]})
    assert "mode" in problem
