"""The page with every key of the configuration, made of its JSON Schema."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from enclave_broker_core import load_plugins
from enclave_broker_core.config import CHOOSING
from enclave_broker_core.config_schema import config_schema
from enclave_broker_core.contracts import NoConfig
from enclave_broker_core.plugins import Plugins

Schema = dict[str, Any]

ROOT = Path(__file__).parents[1]
START = """# Every key of the configuration

What each table is for, and how files, variables and secrets make one configuration of it, is told
in [Configuration](../configuration.md). Here is every key of the plugins of this repository.
Whatever is not a table or a list may also be a text with a reference in it, `${env:…}` or
`${secret:…}`. Times are in seconds, sizes in bytes.

Every table for a part has `use`, the name of the component that plays it.
"""
# Where a number can be as large as anybody wants.
ENDLESS = 1_000_000_000
SCALARS = frozenset({"text", "whole number", "number", "true or false"})


def page() -> str:
    """The page as Markdown."""
    plugins = our_plugins()
    return START + "\n".join(_Page(plugins, config_schema(plugins)).lines()) + "\n"


def our_plugins() -> Plugins:
    """The plugins of this repository, whatever else is installed."""
    names: list[str] = []
    for path in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        names += project.get("entry-points", {}).get("enclave_broker", {})
    return load_plugins({"plugins": names})


class _Page:
    def __init__(self, plugins: Plugins, schema: Schema) -> None:
        self._plugins = plugins
        self._whole = schema
        self._tables: dict[str, Schema] = schema["$defs"]
        self._chosen = {key: kind for key, (kind, _) in CHOOSING.items()}
        tables = {key: node for key, node in schema["properties"].items() if "$ref" in node}
        # Of the file itself, and not for one component.
        self._top = {_name(node["$ref"]): key for key, node in tables.items()}
        self._waiting: list[str] = []
        self._told: set[str] = set()

    def lines(self) -> Iterator[str]:
        yield from ("", "## The file", "")
        yield from self._keys(self._whole)
        for key, node in self._whole["properties"].items():
            if key in self._chosen:
                yield from ("", f"## {key}", "", node["description"])
                yield from self._components(self._chosen[key])
            elif "$ref" in node:
                name = _name(node["$ref"])
                yield from ("", f"## {key}", *self._about(name), "")
                yield from self._keys(self._tables[name])
                yield from self._inner()
                if key == "rate_limit":
                    yield from self._components("limiter")

    def _components(self, kind: str) -> Iterator[str]:
        for name in self._plugins.names(kind):
            table = f"{kind}.{name}"
            of = re.findall(r"enclave-broker-\w+", self._plugins.whose(kind, name))[0]
            yield from ("", f"### {kind}: {name}", "", f'`use = "{name}"`, of {_link(of)}.')
            yield from self._about(table)
            if self._tables[table]["properties"].keys() - {"use", "name"}:
                yield ""
                yield from self._keys(self._tables[table])
            yield from self._inner()

    def _inner(self) -> Iterator[str]:
        """The tables that are in those before, each once."""
        while self._waiting:
            name = self._waiting.pop(0)
            yield from ("", f"#### {_title(name)}", *self._about(name), "")
            yield from self._keys(self._tables[name])

    def _about(self, name: str) -> list[str]:
        told = self._tables[name].get("description", "")
        return [] if told == NoConfig.__doc__ else ["", told]

    def _keys(self, table: Schema) -> Iterator[str]:
        required = set(table.get("required", ()))
        yield "| key | what it is | a | unless given |"
        yield "|---|---|---|---|"
        for key, node in table["properties"].items():
            if key == "use":
                continue
            told = " ".join(node.get("description", "").split())
            default = "required" if key in required else _default(node)
            shown = (
                f"[`{key}`](#{key})" if table is self._whole and self._has_part(key) else f"`{key}`"
            )
            yield f"| {shown} | {_cell(told)} | {_cell(self._type(node))} | {_cell(default)} |"

    def _has_part(self, key: str) -> bool:
        return key in self._chosen or "$ref" in self._whole["properties"][key]

    def _type(self, node: Schema) -> str:
        if "$ref" in node:
            return self._reference(_name(node["$ref"]))
        if "anyOf" in node:
            kinds = [
                self._type(one) for one in node["anyOf"] if one.get("$ref") != "#/$defs/reference"
            ]
            if set(kinds) == SCALARS:
                return "text, number or truth value"
            return " or ".join(dict.fromkeys(kinds))
        if "enum" in node:
            return ", ".join(f"`{json.dumps(value)}`" for value in node["enum"])
        if "const" in node:
            return f"`{json.dumps(node['const'])}`"
        kind = node.get("type")
        if kind == "array":
            items = self._type(node["items"])
            return "list of tables" if items == "table" else f"list of {items}"
        if kind == "object":
            inner = node.get("additionalProperties")
            return f"table of {self._type(inner)}" if isinstance(inner, dict) else "table"
        if kind in ("integer", "number"):
            return {"integer": "whole number", "number": "number"}[kind] + _range(node)
        return {"boolean": "true or false", "string": "text"}.get(str(kind), "any value")

    def _reference(self, name: str) -> str:
        if name == "JsonValue":
            return "any value"
        if name == "limiter":
            return "table with `use`"
        if name in self._top or name in self._chosen.values():
            return "table"
        if name not in self._told:
            self._told.add(name)
            self._waiting.append(name)
        return f"[{_title(name)}](#{_anchor(_title(name))})"


def _name(reference: str) -> str:
    return unquote(reference.removeprefix("#/$defs/")).replace("~1", "/").replace("~0", "~")


def _title(name: str) -> str:
    """``DoorLimits``: "Door limits"; ``enclave_broker_http__requests__Basic``: "Basic (http)"."""
    module, _, last = name.rpartition("__")
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", re.sub(r"(?:Config|Settings)$", "", last))
    text = " ".join(word if word.isupper() else word.lower() for word in words)
    package = module.partition("__")[0].removeprefix("enclave_broker_")
    return text[0].upper() + text[1:] + (f" ({package})" if module else "")


def _anchor(title: str) -> str:
    """As forges and the site make it."""
    return re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")


def _link(distribution: str) -> str:
    if distribution == "enclave-broker-core":
        return distribution
    return f"[{distribution}](../../plugins/{distribution}/README.md)"


def _range(node: Schema) -> str:
    low, above = node.get("minimum"), node.get("exclusiveMinimum")
    high = node.get("maximum", ENDLESS)
    if high < ENDLESS:
        if low is not None:
            return f", {low} to {high}"
        return f", up to {high}" if above is None else f", above {above}, up to {high}"
    if above is not None:
        return f" above {above}"
    return "" if low is None else f" from {low} on"


def _default(node: Schema) -> str:
    value = node.get("default")
    if value is None or value == "" or node.get("format") == "password":
        return ""
    if isinstance(value, list):
        # A set has no order.
        value = sorted(value, key=str)
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
