"""The configuration that is in effect: each value, where it comes from, and no secret."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from .commands import server_model
from .config import BEFORE_SECRETS, CHOOSING, DEFAULT_USE, Config
from .config_files import ConfigLike, Document, Origin, read, reads_variables
from .draft import Draft, draft_of
from .errors import PluginError
from .model_schema import is_secret
from .places import Place, written
from .plugins import Plugins
from .redaction import BLOT, Redactor
from .references import expand

_IN_URL = re.compile(r"(?<=://)(?P<user>[^/?#\s@:]*):(?P<password>[^/?#\s]*)(?=@)")
_REFERENCE = re.compile(r"\$\{(env:\w+|secret:[^\s{}]+)\}")
# Where no model can tell, the name of the key has to.
_SECRET_NAME = re.compile(r"(password|passphrase|secret|token|api_?key|private_?key)$", re.I)


@dataclass(frozen=True)
class Value:
    """One value in effect. ``origin`` is None for a default.

    ``value`` is JSON: a text with a reference to a secret is shown as it was written, and a
    value that is secret by itself as ``[secret]``.
    """

    place: Place
    value: Any
    origin: Origin | None

    @property
    def key(self) -> str:
        return written(self.place)


def effective(
    config: ConfigLike = None,
    *,
    plugins: Iterable[object] = (),
    environment: bool | None = None,
    defaults: bool = False,
) -> list[Value]:
    """Every value of a configuration in the order of its tables, with its origin.

    Takes what ``open_broker`` takes. With ``defaults`` also those values that nobody wrote.
    Nothing is opened and no secret is looked up. Hidden are fields of a secret type, all of a
    component whose model has no JSON Schema, texts under keys like ``token``, and passwords in
    URLs. Raises ConfigError with
    all mistakes when there are any: of a wrong table nobody can tell what in it is secret.
    """
    wanted = reads_variables(config) if environment is None else environment
    document = read(config, os.environ if wanted else None)
    draft = draft_of(document, os.environ, Redactor(), list(plugins))
    if draft.mistakes:
        raise draft.error()
    data = expand(document.data, os.environ, without_secrets=BEFORE_SECRETS).data
    hiding = _Hiding(draft.plugins, data, document)
    found = [
        Value(place, hiding.shown(place, value), document.origin(place))
        for place, value in _leaves(data, document)
    ]
    if not defaults:
        return found
    given = {value.place for value in found}
    for place, value in _leaves(_whole(draft, data), document):
        if not any(place[: len(at)] == at or at[: len(place)] == place for at in given):
            found.append(Value(place, hiding.shown(place, value), None))
    order = list(Config.model_fields)
    return sorted(found, key=lambda value: order.index(str(value.place[0])))


class _Hiding:
    """Knows which values of a configuration are not to be shown."""

    def __init__(self, plugins: Plugins, data: Mapping[str, Any], document: Document) -> None:
        self._document = document
        # The table of each component, and the model of what is in it; None when it is unknown.
        self._models: dict[Place, type[BaseModel] | None] = {}
        for key, (kind, _) in CHOOSING.items():
            tables = data.get(key, ())
            if key == "store" or isinstance(tables, Mapping):
                self._models[(key,)] = _model(plugins, kind, tables or {})
            else:
                for number, table in enumerate(tables):
                    self._models[key, number] = _model(plugins, kind, table)
        backend = data.get("rate_limit", {}).get("backend")
        if backend is not None:
            self._models["rate_limit", "backend"] = _model(plugins, "limiter", backend)
        server = server_model(plugins.commands())
        if server is not None:
            self._models[("server",)] = server

    def shown(self, place: Place, value: Any) -> Any:
        if self._is_secret(place, value):
            raw = self._raw(place)
            by_reference = isinstance(raw, str) and _REFERENCE.fullmatch(raw)
            return raw if by_reference else BLOT
        if isinstance(value, list):
            return [self.shown((*place, number), item) for number, item in enumerate(value)]
        return _IN_URL.sub(_without_password, value) if isinstance(value, str) else value

    def _is_secret(self, place: Place, value: Any) -> bool:
        named = next((part for part in reversed(place) if isinstance(part, str)), "")
        if isinstance(value, str) and _SECRET_NAME.search(named):
            return True
        for at, model in self._models.items():
            if place[: len(at)] == at and place[len(at) :] not in (("use",), ("name",)):
                return model is None or is_secret(model, place[len(at) :])
        return False

    def _raw(self, place: Place) -> Any:
        """What was written at a place; None when nothing was."""
        data: Any = self._document.data
        for part in place:
            try:
                data = data[part]
            except (LookupError, TypeError):
                return None
        return data


def _model(plugins: Plugins, kind: str, table: Mapping[str, Any]) -> type[BaseModel] | None:
    try:
        return plugins.find(kind, table.get("use") or DEFAULT_USE.get(kind, "")).config_model
    except PluginError:
        return None


def _without_password(found: re.Match[str]) -> str:
    password = found["password"]
    return f"{found['user']}:{password if _REFERENCE.fullmatch(password) else BLOT}"


def _leaves(data: Any, document: Document, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """All values that are no tables. A list is one, unless its items differ in their origin."""
    items: Iterable[tuple[str | int, Any]] | None = None
    if isinstance(data, Mapping):
        items = data.items()
    elif isinstance(data, list):
        tables = any(isinstance(item, Mapping | list) for item in data)
        items = enumerate(data) if tables or _changed_within(document, place) else None
    if not items or data in ({}, []):
        if place:
            yield place, data
        return
    for key, value in items:
        yield from _leaves(value, document, (*place, key))


def _changed_within(document: Document, place: Place) -> bool:
    """Whether a variable sets one item of a list."""
    return any(
        len(layer.at) > len(place) and layer.at[: len(place)] == place for layer in document.layers
    )


def _whole(draft: Draft, data: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with all its defaults, those of the components too."""
    whole = _dump(draft.settings)
    for key in ("access", "runtime"):
        if isinstance(data.get(key), Mapping):
            whole[key] = whole[key][0]
    if whole["secrets"] is None:
        whole["secrets"] = [{"use": "env"}]
    if draft.plan.server is not None:
        whole["server"] = _dump(draft.plan.server)
    for part in draft.plan.parts():
        table: Any = whole
        if part.place[0] in data or part.kind == "store":
            for step in part.place:
                table = table[step] if table is not None else None
        if table is not None and table is not whole:
            table.update(_dump(part.config))
            if "name" in table:
                table["name"] = part.name
    return whole


def _dump(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, fallback=repr)
