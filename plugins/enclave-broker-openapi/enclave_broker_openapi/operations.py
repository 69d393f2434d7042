"""The operations of a document, one by one: a broken one is told, and the others are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .document import Document
from .keywords import cut
from .problems import OperationError, shown

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
READING = frozenset({"GET", "HEAD", "OPTIONS", "QUERY"})
IDEMPOTENT = READING | {"PUT", "DELETE"}

# A TRACE is answered with its own headers, credentials included, and CONNECT is for proxies.
_REFUSED = frozenset({"TRACE", "CONNECT"})

Layer = tuple[Mapping[str, Any], str]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as it stands in the document.

    ``node`` is relative to ``base``; ``around`` are its path's item and what that refers to,
    the nearest first, each with its own base.
    """

    method: str
    path: str
    node: Mapping[str, Any]
    base: str
    around: tuple[Layer, ...]

    @property
    def key(self) -> str:
        """What tells it from all others, in people's words too: ``GET /pets/{id}``."""
        return f"{self.method} {self.path}"

    @property
    def id(self) -> str | None:
        found = self.node.get("operationId")
        return found if isinstance(found, str) and found.strip() else None

    @property
    def tags(self) -> frozenset[str]:
        found = self.node.get("tags")
        return frozenset(map(str, found)) if isinstance(found, list) else frozenset()

    def text(self, key: str) -> str:
        """The operation's own summary or description, or else its path's."""
        for node in (self.node, *(layer for layer, _ in self.around)):
            found = node.get(key)
            if isinstance(found, str) and (said := cut(found)):
                return said
        return ""

    def nearest(self, key: str) -> Any:
        """A value of the path's item, or of what it refers to."""
        return next((layer[key] for layer, _ in self.around if key in layer), None)


@dataclass(frozen=True, slots=True)
class Broken:
    """An operation, or a whole path, that can't become a tool, and why."""

    key: str
    reason: str
    id: str | None = None


def read_operations(document: Document) -> Iterator[Operation | Broken]:
    """All operations, in the document's order."""
    paths = document.root.get("paths")
    if not isinstance(paths, dict):
        return
    for path, item in paths.items():
        if path.startswith("x-"):
            continue
        if not path.startswith("/"):
            path_said = f"the path {shown(path)} does not begin with a slash"
            yield from _broken(path, item, path_said)
            continue
        try:
            around = _around(document, item)
        except OperationError as problem:
            yield Broken(path, str(problem))
            continue
        yield from _of_path(path, around)


def _around(document: Document, item: Any) -> tuple[Layer, ...]:
    """A path's item, and what it refers to."""
    layers: list[Layer] = []
    node, base = item, document.base
    while True:
        if not isinstance(node, dict):
            raise OperationError("its path's item is no object")
        layers.append((node, base))
        if not isinstance(node.get("$ref"), str):
            return tuple(layers)
        if len(layers) > 20:
            raise OperationError(f"the reference {shown(node['$ref'])} leads to itself")
        place = document.find(node["$ref"], base)
        node, base = place.node, place.base


def _of_path(path: str, around: tuple[Layer, ...]) -> Iterator[Operation | Broken]:
    found: dict[str, tuple[str, Any, str]] = {}
    for layer, base in around:
        for name, node in layer.items():
            if name in METHODS:
                found.setdefault(name.upper(), (name, node, base))
            elif name == "additionalOperations" and isinstance(node, dict):
                for method, inner in node.items():
                    found.setdefault(method, (method, inner, base))
    for method, (_, node, base) in found.items():
        key = f"{method} {path}"
        if not isinstance(node, dict):
            yield Broken(key, "it is no object")
        elif method.upper() in _REFUSED:
            yield Broken(key, f"a {method} is not sent")
        elif not method.isascii() or not method.replace("-", "").isalnum():
            yield Broken(key, "its method is none")
        else:
            yield Operation(method.upper(), path, node, base, around)


def _broken(path: str, item: Any, reason: str) -> Iterator[Broken]:
    names = [name for name in METHODS if isinstance(item, dict) and name in item]
    for name in names or [""]:
        yield Broken(f"{name.upper()} {path}".strip(), reason)
