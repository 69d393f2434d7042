"""From a configuration to an open broker, and what stops the start."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from enclave_broker_core import (
    AccessDeniedError,
    ConfigError,
    PluginError,
    Principal,
    RateLimitedError,
    load_plugins,
    open_broker,
)
from enclave_broker_core.build import check

pytestmark = pytest.mark.anyio


async def test_a_broker_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(
        "from enclave_broker_core import tool\n"
        "@tool('public:add')\n"
        "def add(a: int, b: int) -> int:\n"
        "    return a + b\n"
        "@tool('admin:stop')\n"
        "def stop() -> str:\n"
        "    return 'stopped'\n"
    )
    (tmp_path / "broker.toml").write_text("""
[access]
rules = [
  { pattern = "public:*", allow = true },
  { pattern = "admin:*", allow = false, unless = { role = "admin" } },
]
[rate_limit]
per_session = { max_calls = 2, window = 60 }
[limits]
max_tool_calls = 50
[sessions]
max_concurrent = 3
[audit]
path = "audit.jsonl"
[[tools]]
use = "python"
module = "t.py"
[[middleware]]
use = "logging"
""")
    admin = Principal(id="a", roles=frozenset({"admin"}))
    async with open_broker(str(tmp_path / "broker.toml")) as broker:
        async with broker.session(principal=Principal(id="b")) as session:
            assert session.limits.max_tool_calls == 50
            assert await session.call("public:add", {"a": 1, "b": 2}) == 3
            with pytest.raises(AccessDeniedError):
                await session.call("admin:stop")
            await session.call("public:add", {"a": 1, "b": 2})
            with pytest.raises(RateLimitedError):
                await session.call("public:add", {"a": 1, "b": 2})
        async with broker.session(principal=admin) as session:
            assert await session.call("admin:stop") == "stopped"
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    calls = [(line["tool"], line["outcome"]) for line in lines if line["event"] == "call"]
    assert calls == [
        ("public:add", "ok"),
        ("admin:stop", "refused"),
        ("public:add", "ok"),
        ("public:add", "refused"),
        ("admin:stop", "ok"),
    ]


async def test_a_broker_from_nothing() -> None:
    async with open_broker() as broker, broker.session() as session:
        assert broker.list_tools() == []
        assert session.limits.timeout == 3600


async def test_a_missing_part_says_what_to_install() -> None:
    with pytest.raises(ConfigError) as raised:
        async with open_broker({"plugins": ["memory"], "store": {"use": "redis"}}):
            pass
    assert "store.use: there is no session store named 'redis'; " in raised.value.message
    assert "enclave-broker-redis" in raised.value.message


async def test_a_plugin_that_does_not_load_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("1 / 0")
    (tmp_path / "broker.toml").write_text('plugins = ["memory", "./p.py"]\n')
    with pytest.raises(PluginError, match=r"plugin '\./p\.py' of a local file"):
        async with open_broker(tmp_path / "broker.toml"):
            pass
    (mistake,) = check(tmp_path / "broker.toml")
    assert mistake.startswith(f"{tmp_path / 'broker.toml'}:1: plugins: plugin './p.py'")
    states = {plugin.name: plugin.state for plugin in load_plugins(tmp_path / "broker.toml")}
    assert states["./p.py"] == "failed"
    assert states["core"] == "loaded"


async def test_an_optional_plugin_is_left_out_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = {
        "plugins": ["memory", "gone"],
        "optional_plugins": ["gone"],
        "sinks": [{"use": "gone"}],
        "middleware": [{"use": "logging"}],
    }
    with caplog.at_level(logging.WARNING):
        async with open_broker(config) as broker, broker.session():
            pass
    assert "no installed plugin is named 'gone'" in caplog.text
    assert "sinks[0] is left out: there is no event sink named 'gone'" in caplog.text


@pytest.mark.parametrize(
    "table",
    [
        {"store": {"use": "gone"}},
        {"access": {"use": "gone"}},
        {"rate_limit": {"backend": {"use": "gone"}}},
        {"authenticators": [{"use": "gone"}]},
    ],
)
async def test_what_guards_is_never_optional(table: dict[str, Any]) -> None:
    config = {"plugins": ["memory", "gone"], "optional_plugins": ["gone"], **table}
    with pytest.raises(ConfigError, match="named 'gone'"):
        async with open_broker(config):
            pass
