"""``[server]`` is checked, described and shown by the model of the plugin that has a server."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
import typer
from pydantic import BaseModel, Field, SecretStr

from enclave_broker_core import hookimpl, load_plugins, open_setup
from enclave_broker_core.build import check
from enclave_broker_core.commands import Command
from enclave_broker_core.config_schema import config_schema
from enclave_broker_core.effective import effective
from enclave_broker_core.errors import ConfigError


class Limits(BaseModel, extra="forbid"):
    bytes: int = 10


class Server(BaseModel, extra="forbid"):
    port: int = Field(default=1, ge=0)
    key: SecretStr | None = None
    limits: Limits = Limits()


class Serving:
    @hookimpl
    def enclave_commands(self) -> list[Command]:
        return [
            Command("a-other", "Does not serve.", typer.Typer),
            Command("serve-it", "Serves.", typer.Typer, server_model=Server),
        ]


NO_INTEGER = "Input should be a valid integer, unable to parse string as an integer"
ONLY_IT: dict[str, Any] = {"block_plugins": ["server"]}


@pytest.mark.anyio
async def test_it_is_validated_with_its_defaults() -> None:
    config = {**ONLY_IT, "server": {"port": "${env:PORT}", "limits": {"bytes": 5}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORT", "80")
        async with open_setup(config, plugins=[Serving()]) as setup:
            assert setup.server == Server(port=80, limits=Limits(bytes=5))
    async with open_setup(ONLY_IT, plugins=[Serving()]) as setup:
        assert setup.server == Server()


@pytest.mark.anyio
async def test_without_a_server_anything_may_stand_there() -> None:
    config = {**ONLY_IT, "server": {"prot": [1]}}
    assert check(config) == []
    async with open_setup(config) as setup:
        assert setup.server is None


@pytest.mark.anyio
async def test_a_mistake_has_its_place(tmp_path: Any) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(
        'block_plugins = ["server"]\n[server]\nprot = 1\n[server.limits]\nbytes = "x"\n'
    )
    found = check(path, plugins=[Serving()])
    assert found == [
        f"{path}:3: server.prot: there is no such key; did you mean 'port'?",
        f"{path}:5: server.limits.bytes: {NO_INTEGER}",
    ]
    with pytest.raises(ConfigError, match=r"did you mean 'port'"):
        async with open_setup(path, plugins=[Serving()]):
            pass


def test_the_schema_has_it() -> None:
    plugins = load_plugins(ONLY_IT, plugins=[Serving()])
    validator = jsonschema_rs.Draft202012Validator(config_schema(plugins))
    assert validator.is_valid({"server": {"port": 1, "limits": {"bytes": 1}}})
    assert not validator.is_valid({"server": {"prot": 1}})
    assert not validator.is_valid({"server": {"limits": {"bytes": []}}})
    without = jsonschema_rs.Draft202012Validator(config_schema(load_plugins(ONLY_IT)))
    assert without.is_valid({"server": {"prot": 1}})


def test_what_is_in_effect_is_shown_without_secrets() -> None:
    config = {**ONLY_IT, "server": {"port": 3, "key": "hush"}}
    shown = {one.key: one.value for one in effective(config, plugins=[Serving()])}
    assert shown["server.port"] == 3
    assert shown["server.key"] == "[secret]"
    whole = {one.key: one for one in effective(config, plugins=[Serving()], defaults=True)}
    assert whole["server.limits.bytes"].value == 10
    assert whole["server.limits.bytes"].origin is None
    unknown = {**ONLY_IT, "server": {"port": 3, "api_key": "hush"}}
    shown = {one.key: one.value for one in effective(unknown)}
    assert (shown["server.port"], shown["server.api_key"]) == (3, "[secret]")
