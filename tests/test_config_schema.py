"""The JSON Schema of a configuration accepts what the loader accepts, and nothing else."""

from __future__ import annotations

import copy
import enum
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import jsonschema_rs
import pytest
from pydantic import BaseModel, Field, SecretStr

from enclave_broker_core import Component, OpenContext, hookimpl, load_plugins
from enclave_broker_core.config_files import read
from enclave_broker_core.config_schema import config_schema
from enclave_broker_core.draft import draft_of
from enclave_broker_core.places import Place, written
from enclave_broker_core.plugins import Plugins
from enclave_broker_core.redaction import Redactor

ROOT = Path(__file__).parents[1]


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Basic(BaseModel, extra="forbid"):
    type: Literal["basic"]
    user: str
    password: SecretStr


class Bearer(BaseModel, extra="forbid"):
    type: Literal["bearer"]
    token: SecretStr


class Wide(BaseModel):
    """Takes no notice of other keys, which the loader does for it; has most kinds of values."""

    name: str
    level: Level = Level.LOW
    auth: Annotated[Basic | Bearer, Field(discriminator="type")] | None = None
    code: str = Field(default="aa", pattern="^[a-z]{2}$")
    codes: frozenset[Level] = frozenset()
    ratio: float | Literal["auto"] = Field(default="auto", alias="the-ratio")
    pair: tuple[int, bool] = (1, True)
    limits: dict[str, int] = {}


class Anything(BaseModel, extra="allow"):
    size: int = 1


class Opaque:
    pass


class NoSchema(BaseModel, arbitrary_types_allowed=True):
    size: int = 1
    thing: Opaque | None = None


@asynccontextmanager
async def never(config: Any, context: OpenContext) -> AsyncIterator[None]:
    yield None


@hookimpl
def enclave_tool_providers() -> list[Component]:
    return [Component("wide", never, Wide), Component("a/b c", never, Anything)]


@hookimpl
def enclave_middleware() -> list[Component]:
    return [Component("opaque", never, NoSchema)]


OURS = SimpleNamespace(
    enclave_tool_providers=enclave_tool_providers, enclave_middleware=enclave_middleware
)

WHOLE: dict[str, Any] = {
    "plugins": ["memory", "monty"],
    "block_plugins": ["x"],
    "optional_plugins": ["otel"],
    "secrets": [{"use": "env"}],
    "store": {"use": "memory", "grace": 5.0, "max_events": 10},
    "access": {
        "use": "rules",
        "default": "deny",
        "rules": [{"pattern": "a:*", "allow": "ask"}, {"pattern": "b:*", "allow": False}],
    },
    "rate_limit": {
        "global": {"max_calls": 1000, "window": 60.0},
        "per_tool": {"expensive:*": {"max_calls": 10, "window": 60.0}},
        "backend": {"use": "memory"},
        "on_error": "allow",
    },
    "limits": {"timeout": 30.0, "max_tool_calls": 10, "cancel_on_first_error": True},
    "sessions": {"max_concurrent": 5, "max_per_principal": 2, "admin_roles": ["admin"] * 2},
    "tools": [
        {"use": "python", "name": "mine", "module": "mine.py"},
        {
            "use": "wide",
            "level": "high",
            "auth": {"type": "basic", "user": "u", "password": "p"},
            "code": "zz",
            "codes": ["low", "low"],
            "the-ratio": 0.5,
            "pair": [3, False],
            "limits": {"a": 1},
        },
        {"use": "a/b c", "size": 3, "more": {"x": 1}},
    ],
    "middleware": [{"use": "logging", "level": "debug"}, {"use": "opaque", "size": 2}],
    "runtime": [{"use": "monty", "name": "one", "type_check": True}],
    "audit": {"to": "stdout", "sync": True},
    "sinks": [{"use": "audit", "to": "stdout", "path": "x"}],
    "logging": {"format": "json", "level": "info"},
    "server": {"anything": [1, {"at": "all"}]},
}
OTHER_VALUES: tuple[Any, ...] = (
    -1,
    1.5,
    "no such",
    [],
    [1.5],
    {},
    {"no_such_key": 1},
    [{"no_such_key": 1}],
)


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins({"plugins": ["memory", "monty"]}, plugins=[OURS])


@pytest.fixture(scope="module")
def schema(plugins: Plugins) -> dict[str, Any]:
    return config_schema(plugins)


@pytest.fixture(scope="module")
def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    jsonschema_rs.meta.validate(schema)
    return jsonschema_rs.Draft202012Validator(schema)


def loads(config: dict[str, Any], plugins: Plugins, environment: dict[str, str]) -> bool:
    draft = draft_of(read(config), environment, Redactor(), plugins=plugins)
    return not draft.mistakes


def places(data: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    if place:
        yield place, data
    if isinstance(data, dict | list):
        inside: Any = data.items() if isinstance(data, dict) else enumerate(data)
        for key, value in inside:
            yield from places(value, (*place, key))


def put(data: Any, place: Place, value: Any) -> Any:
    changed = copy.deepcopy(data)
    at = changed
    for part in place[:-1]:
        at = at[part]
    at[place[-1]] = value
    return changed


def without(data: Any, place: Place) -> Any:
    changed = copy.deepcopy(data)
    at = changed
    for part in place[:-1]:
        at = at[part]
    del at[place[-1]]
    return changed


PLACES = dict(places(WHOLE))
ids = written


def test_the_whole_is_accepted(validator: Any, plugins: Plugins) -> None:
    assert validator.is_valid(WHOLE)
    assert loads(WHOLE, plugins, {})
    assert validator.is_valid({})


# Of a model without a schema nothing is known.
@pytest.mark.parametrize(
    "place", [place for place in PLACES if place[:2] != ("middleware", 1)], ids=ids
)
def test_they_agree_on_other_values(validator: Any, plugins: Plugins, place: Place) -> None:
    """Each value replaced by those of other types, and left out."""
    changed = [put(WHOLE, place, value) for value in OTHER_VALUES]
    for config in [*changed, without(WHOLE, place)]:
        assert validator.is_valid(config) == loads(config, plugins, {}), config


@pytest.mark.parametrize(
    "place", [(), *(place for place, value in PLACES.items() if isinstance(value, dict))], ids=ids
)
def test_they_agree_on_unknown_keys(validator: Any, plugins: Plugins, place: Place) -> None:
    config = put(WHOLE, (*place, "no_such_key"), "x")
    accepted = place[:1] == ("server",) or place[:2] == ("tools", 2)
    if place == ("middleware", 1):
        assert not loads(config, plugins, {})
        return
    assert validator.is_valid(config) == loads(config, plugins, {}) == accepted


@pytest.mark.parametrize(
    "place",
    [place for place, value in PLACES.items() if not isinstance(value, dict | list)],
    ids=ids,
)
def test_a_reference_may_stand_for_every_scalar(
    validator: Any, plugins: Plugins, place: Place
) -> None:
    value = PLACES[place]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    for reference in ("${env:VALUE}", "${env:VALUE:-x}"):
        config = put(WHOLE, place, reference)
        assert validator.is_valid(config)
    # Of a rule's ``allow`` no text is a truth value.
    expected = place != ("access", "rules", 1, "allow")
    if place[0] != "server":
        assert loads(put(WHOLE, place, "${env:VALUE}"), plugins, {"VALUE": text}) == expected
    if place[0] not in ("plugins", "block_plugins", "optional_plugins", "secrets"):
        assert validator.is_valid(put(WHOLE, place, "${secret:VALUE}"))


@pytest.mark.parametrize(
    ("config", "accepted"),
    [
        ({"store": {}}, True),
        ({"store": {"use": "memory"}}, True),
        ({"store": {"use": "redis"}}, False),
        ({"store": {"use": "${env:STORE}", "url": "x"}}, True),
        ({"access": [{}, {"use": "rules", "default": "ask"}]}, True),
        ({"access": [{"default": "perhaps"}]}, False),
        ({"runtime": {"use": "monty", "workers": 2}}, True),
        ({"runtime": {"workers": 2}}, False),
        ({"runtime": {"use": "monty", "workers": 0}}, False),
        ({"middleware": [{"use": "memory"}]}, False),
        ({"middleware": {"use": "logging"}}, False),
        ({"middleware": [{"use": "logging", "name": "x"}]}, False),
        ({"tools": [{"use": "wide", "auth": {"type": "bearer", "token": "t"}}]}, True),
        ({"tools": [{"use": "wide", "auth": {"type": "bearer", "password": "t"}}]}, False),
        ({"tools": [{"use": "wide", "auth": {"type": "${env:T}", "token": "t"}}]}, True),
        ({"tools": [{"use": "wide", "the-ratio": "auto"}]}, True),
        ({"tools": [{"use": "wide", "ratio": 1}]}, False),
        ({"tools": [{"use": "wide", "code": "AA"}]}, False),
        ({"tools": [{"use": "wide", "pair": [1, True, 3]}]}, False),
        ({"limits": {"max_tool_calls": 5.0}}, True),
        ({"limits": {"timeout": "$HOME"}}, False),
        ({"limits": {"timeout": "${HOME}"}}, False),
        ({"rate_limit": {"per_session": {"max_calls": 1}}}, False),
        ({"rate_limit": {"backend": {}}}, False),
        ({"authenticators": []}, True),
        ({"authenticators": [{"use": "x"}]}, False),
    ],
)
def test_they_agree_on_these(
    validator: Any, plugins: Plugins, config: dict[str, Any], accepted: bool
) -> None:
    assert validator.is_valid(config) is accepted
    environment = {"STORE": "memory", "T": "bearer"}
    if "url" not in config.get("store", {}):
        assert loads(config, plugins, environment) is accepted


def test_it_is_tidy(schema: dict[str, Any]) -> None:
    text = str(schema)
    assert "'null'" not in text
    assert "None" not in text.replace("None is", "")
    assert "Max Events" not in text
    assert "``" not in text
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["properties"]["store"] == {
        "description": "Where sessions, events and histories are kept.",
        "$ref": "#/$defs/store",
    }
    names = set(schema["$defs"])
    assert {"Rule", "middleware", "middleware.logging", "tools.a/b c", "store.memory"} <= names
    assert not names & {"Config", "Chosen", "NamedPart", "StoreTable", "RulesConfig", "Wide"}
    assert schema["$defs"]["store.memory"]["properties"]["max_events"] == {
        "description": "Events in a session's log. Over a bound the oldest leave, never the newest"
        " one.",
        "default": 10000,
        "anyOf": [{"minimum": 1, "type": "integer"}, {"$ref": "#/$defs/reference"}],
    }
    assert "ordered rules" in schema["$defs"]["access.rules"]["description"]


def test_it_is_the_same_each_time(schema: dict[str, Any]) -> None:
    again = load_plugins({"plugins": ["monty", "memory"]}, plugins=[OURS])
    assert list(config_schema(again)["$defs"]) == list(schema["$defs"])
    assert config_schema(again) == schema


def test_what_is_not_loaded_is_not_in_it() -> None:
    schema = config_schema(load_plugins({"plugins": ["memory"]}))
    assert "runtime.monty" not in schema["$defs"]
    assert schema["$defs"]["runtime"] == {"oneOf": [{"$ref": "#/$defs/unsettled"}]}


def test_the_examples_of_the_documentation_meet_it() -> None:
    wanted = ["memory", "monty", "secrets"]
    whole = config_schema(load_plugins({"plugins": wanted}, plugins=[OURS]))
    validator = jsonschema_rs.Draft202012Validator(whole)
    page = (ROOT / "docs" / "configuration.md").read_text()
    blocks = [block.partition("```")[0] for block in page.split("```toml\n")[1:]]
    assert len(blocks) >= 3
    for block in blocks:
        data = tomllib.loads(block)
        if "my_policy.py" not in block:
            validator.validate(data)
