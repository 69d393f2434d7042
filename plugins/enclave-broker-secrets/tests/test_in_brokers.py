"""The sources as a configuration names them, and what a broker makes of their values."""

from __future__ import annotations

import logging
from pathlib import Path

import enclave_broker_secrets
import pluggy
import pytest
from enclave_broker_secrets.config import FilesConfig, KeyringConfig, TomlConfig

from enclave_broker_core import ConfigError, SecretError, ToolContext, hookspecs, open_broker
from enclave_broker_core.build import check, check_backends, open_setup
from enclave_broker_core.contracts import ALL_LOOPS

pytestmark = pytest.mark.anyio


def write(path: Path, text: str) -> None:
    """In one step, and for this user only."""
    fresh = path.with_name("fresh")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mounted").mkdir()
    write(tmp_path / "mounted" / "TOKEN", "tok-93f1a2\n")
    write(tmp_path / "secrets.toml", 'TOKEN = "shadowed"\n[calls]\nmost = "12345678"\n')
    (tmp_path / "broker.toml").write_text(
        '[[secrets]]\nuse = "files"\npath = "mounted"\n'
        '[[secrets]]\nuse = "toml"\npath = "secrets.toml"\n'
        '[limits]\nmax_tool_calls = "${secret:calls.most}"\n'
    )
    return tmp_path


def test_the_plugin_offers_three_sources() -> None:
    plugins = pluggy.PluginManager(hookspecs.PROJECT)
    plugins.add_hookspecs(hookspecs)
    plugins.register(enclave_broker_secrets)
    plugins.check_pending()
    [sources] = plugins.hook.enclave_secret_sources()
    assert [(source.name, source.config_model, source.loops) for source in sources] == [
        ("files", FilesConfig, ALL_LOOPS),
        ("toml", TomlConfig, ALL_LOOPS),
        ("keyring", KeyringConfig, ALL_LOOPS),
    ]


async def test_a_tool_gets_the_value_of_now_and_nobody_sees_any(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    async with open_broker(folder / "broker.toml") as broker, broker.session() as session:

        @broker.tool("t", secrets=["TOKEN"])
        async def t(ctx: ToolContext) -> str:
            seen.append(ctx.secret("TOKEN"))
            await ctx.log("info", f"with {seen[-1]}")
            return " ".join(["then", *seen])

        assert session.limits.max_tool_calls == 12345678
        assert await session.call("t") == "then [secret]"
        write(folder / "mounted" / "TOKEN", "tok-5b77c0\n")
        assert await session.call("t") == "then [secret] [secret]"
        (folder / "mounted" / "TOKEN").unlink()
        write(folder / "secrets.toml", 'TOKEN = "tok-in-toml"\n')
        assert await session.call("t") == "then [secret] [secret] [secret]"
        (folder / "secrets.toml").chmod(0o644)
        with pytest.raises(SecretError, match="may be used by others"):
            await session.call("t")
        await session.cancel()
        events = [event.to_json().decode() async for event in session.events()]
    assert seen == ["tok-93f1a2", "tok-5b77c0", "tok-in-toml"]
    for text in (*events, caplog.text):
        assert [value for value in seen if value in text] == []
    assert "with [secret]" in str(events)


async def test_a_source_that_is_not_fit_stops_the_start(folder: Path) -> None:
    config = folder / "broker.toml"
    assert await check_backends(config) == []
    (folder / "secrets.toml").chmod(0o640)
    with pytest.raises(ConfigError, match=r"broker\.toml:4: .*may be used by others"):
        async with open_setup(config):
            pass
    (folder / "secrets.toml").chmod(0o600)
    write(folder / "secrets.toml", '[calls]\nmost = "a-lot-of-them"\n')
    with pytest.raises(ConfigError) as caught:
        async with open_setup(config):
            pass
    assert "limits.max_tool_calls" in str(caught.value)
    assert "a-lot-of-them" not in str(caught.value)


def test_mistakes_in_the_tables_are_found(folder: Path) -> None:
    problems = check({"secrets": [{"use": "toml"}, {"use": "files", "pth": "/x"}]})
    assert len(problems) == 2
    assert "path" in problems[0]
    assert "pth" in problems[1]
