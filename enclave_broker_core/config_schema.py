"""The JSON Schema of a whole configuration, with what the loaded plugins have to configure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, PydanticUserError
from pydantic.json_schema import models_json_schema

from .commands import server_model
from .config import CHOOSING, DEFAULT_USE, Config
from .plugins import Plugins

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NAMED = frozenset({"tools", "runtime"})

_USE = "The component that plays this part."
_NAME = "The part's own name; the component's unless given."
_REFERENCE: Mapping[str, str] = {"$ref": "#/$defs/reference"}
_ANNOTATIONS = frozenset({"title", "description", "default", "deprecated", "examples", "writeOnly"})
_FREE_FORMATS = frozenset({"password", "path", "file-path", "directory-path"})


def config_schema(plugins: Plugins) -> Schema:
    """The JSON Schema (draft 2020-12) of a configuration that these plugins can be in.

    In ``$defs`` each component is ``KIND.NAME`` and each kind the choice of its components by
    ``use``. Every scalar may also be a text with a reference, ``${env:…}`` or ``${secret:…}``.
    What only a validator in Python knows, such as whether a pattern is well formed, is not in
    it; and numbers in quotes, which the loader would take, are refused.
    """
    chosen = {
        kind: {name: plugins.find(kind, name).config_model for name in plugins.names(kind)}
        for kind in [*(kind for kind, _ in CHOOSING.values()), "limiter"]
    }
    models = {model for components in chosen.values() for model in components.values()}
    server = server_model(plugins.commands())
    if server is not None:
        models.add(server)
    definitions, names = _definitions({Config, *filter(_has_schema, models)})
    for kind, components in chosen.items():
        choice = []
        for name, model in components.items():
            own = definitions[names[model]] if model in names else {}
            definitions[f"{kind}.{name}"] = _component(kind, name, own, model)
            choice.append(_to(f"{kind}.{name}"))
        definitions[kind] = {"oneOf": [*choice, _to("unsettled")]}
    definitions["reference"] = {
        "description": "A text with a reference to an environment variable or a secret.",
        "type": "string",
        "pattern": r"\$\{(env:[A-Za-z_]|secret:\S)",
    }
    definitions["unsettled"] = {
        "description": "A table whose component is not known before its reference is replaced.",
        "type": "object",
        "properties": {"use": dict(_REFERENCE)},
        "required": ["use"],
    }
    whole = definitions[names[Config]]
    for key, (kind, how_many) in CHOOSING.items():
        _put(whole, key, _tables(kind, how_many))
    _put(definitions["RateLimitTable"], "backend", _to("limiter"))
    if server in names:
        _put(whole, "server", _to(names[server]))
    return {
        "$schema": DIALECT,
        "title": "The configuration of an Enclave Broker",
        **{key: value for key, value in whole.items() if key not in ("title", "description")},
        "$defs": _reachable(whole, definitions),
    }


def _has_schema(model: type[BaseModel]) -> bool:
    try:
        model.model_json_schema()
    except PydanticUserError:
        return False
    return True


def _definitions(
    models: set[type[BaseModel]],
) -> tuple[dict[str, Schema], dict[type[BaseModel], str]]:
    """The schemas of models and of all in them, by name; and the names of the models."""
    ordered = sorted(models, key=lambda model: (model.__module__, model.__qualname__))
    references, whole = models_json_schema([(model, "validation") for model in ordered])
    definitions = {name: _tidy(schema, name) for name, schema in whole["$defs"].items()}
    return definitions, {
        model: references[model, "validation"]["$ref"].removeprefix("#/$defs/") for model in ordered
    }


def _component(kind: str, name: str, own: Schema, model: type[BaseModel]) -> Schema:
    """The table of one component: its own keys, ``use`` and, for some kinds, ``name``."""
    keys = {"name": {"description": _NAME, "type": "string", "minLength": 1}}
    keys = keys if kind in _NAMED else {}
    required = [key for key in own.get("required", ()) if key not in keys]
    use: Schema = {"description": _USE, "const": name}
    if name == DEFAULT_USE.get(kind):
        use["default"] = name
    else:
        required.insert(0, "use")
    # A model that takes no notice of other keys is not asked: the loader refuses them.
    known = "properties" in own or model.model_config.get("extra") == "forbid"
    strict = known and model.model_config.get("extra") != "allow"
    return {
        **{key: value for key, value in own.items() if key != "required"},
        "type": "object",
        "properties": {"use": use, **keys, **own.get("properties", {})},
        **({"required": required} if required else {}),
        **({"additionalProperties": False} if strict else {}),
    }


def _put(table: Schema, key: str, node: Schema) -> None:
    """What a key may hold; what it is for stays."""
    told = table["properties"][key].get("description")
    table["properties"][key] = {"description": told, **node} if told else node


def _tables(kind: str, how_many: str) -> Schema:
    several = {"type": "array", "items": _to(kind)}
    if how_many == "either":
        return {"anyOf": [_to(kind), several]}
    return _to(kind) if how_many == "one" else several


def _to(name: str) -> Schema:
    return {"$ref": "#/$defs/" + quote(name.replace("~", "~0").replace("/", "~1"))}


def _tidy(schema: Any, name: str = "") -> Any:
    """A schema that pydantic made, for a TOML file: with references, without null and noise."""
    if not isinstance(schema, dict):
        return schema
    # A set takes an item twice.
    node = {
        key: value for key, value in schema.items() if key not in ("uniqueItems", "discriminator")
    }
    if str(node.get("title", "")).replace(" ", "_").lower() == name.lower():
        node.pop("title", None)
    if node.get("default", "") is None or isinstance(node.get("default"), dict):
        del node["default"]
    if "description" in node:
        node["description"] = node["description"].replace("``", "`")
    for key in ("properties", "patternProperties"):
        if key in node:
            node[key] = {inner: _tidy(value, inner) for inner, value in node[key].items()}
    for key in ("items", "additionalProperties"):
        if key in node:
            node[key] = _tidy(node[key])
    for key in ("prefixItems", "allOf"):
        if key in node:
            node[key] = [_tidy(value) for value in node[key]]
    if "anyOf" in node or "oneOf" in node:
        return _any_of(node, [*node.pop("anyOf", ()), *node.pop("oneOf", ())])
    return _any_of(node, [node]) if _is_scalar(node) else node


def _any_of(node: Schema, choices: list[Schema]) -> Schema:
    """A choice, and a reference when there is a scalar in it."""
    around = {key: value for key, value in node.items() if key in _ANNOTATIONS}
    branches: list[Any] = []
    with_reference = False
    for choice in choices:
        if choice.get("type") == "null":
            continue
        if _is_scalar(choice):
            with_reference = True
            bare = choice is node
            branches.append(
                {k: v for k, v in choice.items() if k not in _ANNOTATIONS} if bare else choice
            )
        else:
            branches.append(_tidy(choice))
    branches += [dict(_REFERENCE)] if with_reference else []
    return {**around, **branches[0]} if len(branches) == 1 else {**around, "anyOf": branches}


def _is_scalar(node: Schema) -> bool:
    """Whether it takes numbers, truth values or only some texts: no text with a reference."""
    if node.get("type") in ("number", "integer", "boolean") or "enum" in node or "const" in node:
        return True
    narrow = {"pattern", "maxLength"} & node.keys() or (
        node.get("format", "password") not in _FREE_FORMATS
    )
    return node.get("type") == "string" and bool(narrow)


def _reachable(whole: Schema, definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """The definitions that are referred to, in the order of their names."""
    by_reference = {_to(name)["$ref"]: name for name in definitions}
    found: set[str] = set()
    waiting = list(_references(whole))
    while waiting:
        name = by_reference[waiting.pop()]
        if name not in found:
            found.add(name)
            waiting += _references(definitions[name])
    return {
        name: definitions[name] for name in sorted(found, key=lambda name: (name.lower(), name))
    }


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if re.match("#/", str(value.get("$ref", ""))):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
