"""A document and what it refers to, kept as they are: a reference is followed when it is met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from referencing import Anchor, Registry, Resource, Specification
from referencing.exceptions import Unresolvable

from .parsing import DEEPEST, MOST_NODES
from .problems import DocumentError, OperationError, shown

MOST_REFERENCES = 500_000
MOST_RESOURCES = 200
_MOST_HOPS = 50

# referencing's classes are made in a way that the type checker can't see into.
_Resource: Any = Resource
_Anchor: Any = Anchor
_Specification: Any = Specification

_KNOWN = ("2.0", "3.0", "3.1", "3.2")


@dataclass(frozen=True, slots=True)
class Place:
    """A value in a document. ``base`` is what its references are relative to, ``key`` is its
    own address, the same whoever refers to it.
    """

    node: Any
    base: str
    key: str


@dataclass(slots=True)
class _Seen:
    """What one walk over a resource has found."""

    references: set[str] = field(default_factory=set)
    ids: dict[str, Any] = field(default_factory=dict)
    anchors: dict[str, dict[str, Any]] = field(default_factory=dict)


class Gathering:
    """Collects a document and everything it refers to, without fetching anything itself.

    Whoever has the bytes of what is ``missing`` gives them to ``add``, or says to
    ``leave_out`` why not, until nothing is missing; then there is a ``document``.
    """

    def __init__(self, uri: str, root: Mapping[str, Any]) -> None:
        self.version = version_of(root)
        self.uri = uri
        self.base = uri
        if self.version == "3.2" and isinstance(root.get("$self"), str):
            self.base = joined(uri, root["$self"])[0]
        self.left_out: dict[str, str] = {}
        self._resources: dict[str, Any] = {}
        self._seen = _Seen()
        self._wanted: set[str] = set()
        self._nodes = self._references = 0
        self.add(self.base, root)

    def missing(self) -> list[str]:
        """The addresses of what is referred to and was neither added nor left out."""
        known = self._resources.keys() | self.left_out.keys() | self._seen.ids.keys()
        return sorted(self._wanted - known)

    def add(self, uri: str, value: Mapping[str, Any]) -> None:
        """Take a resource; DocumentError when all of them together are too large."""
        if len(self._resources) >= MOST_RESOURCES:
            raise DocumentError(f"it refers to more than {MOST_RESOURCES} other documents")
        self._resources[uri] = value
        self._walk(uri, value)

    def leave_out(self, uri: str, why: str) -> None:
        """What refers to it has a broken reference."""
        self.left_out[uri] = why

    def document(self) -> Document:
        return Document(
            self.uri, self.base, self.version, self._resources, self._seen, self.left_out
        )

    def _walk(self, uri: str, root: Any) -> None:
        has_ids = self.version in ("3.1", "3.2")
        waiting: list[tuple[Any, str, int]] = [(root, uri, 0)]
        while waiting:
            node, base, depth = waiting.pop()
            self._nodes += 1
            if depth > DEEPEST:
                raise DocumentError(f"it is nested more than {DEEPEST} levels deep")
            if isinstance(node, dict):
                if has_ids:
                    base = self._note_names(node, base)
                reference = node.get("$ref")
                if isinstance(reference, str):
                    self._note_reference(reference, base)
                children: Any = node.values()
            else:
                children = node
            self._nodes += len(children)
            waiting += [
                (child, base, depth + 1) for child in children if isinstance(child, dict | list)
            ]
            if self._nodes > MOST_NODES:
                raise DocumentError(f"it has more than {MOST_NODES} nodes")

    def _note_names(self, node: Mapping[str, Any], base: str) -> str:
        own = node.get("$id")
        if isinstance(own, str) and own:
            base = joined(base, own)[0]
            self._seen.ids.setdefault(base, node)
        for keyword in ("$anchor", "$dynamicAnchor"):
            anchor = node.get(keyword)
            if isinstance(anchor, str):
                self._seen.anchors.setdefault(base, {}).setdefault(anchor, node)
        return base

    def _note_reference(self, reference: str, base: str) -> None:
        self._references += 1
        if self._references > MOST_REFERENCES:
            raise DocumentError(f"it has more than {MOST_REFERENCES} references")
        if not reference.startswith("#"):
            self._wanted.add(joined(base, reference)[0])


class Document:
    """A document that is complete, and finds what is referred to in it.

    ``uri`` is where it came from, ``base`` what its references and servers are relative to.
    """

    def __init__(
        self,
        uri: str,
        base: str,
        version: str,
        resources: Mapping[str, Any],
        seen: _Seen,
        left_out: Mapping[str, str],
    ) -> None:
        self.uri = uri
        self.base = base
        self.version = version
        self.root: Mapping[str, Any] = resources[base]
        registry: Registry[Any] = Registry()
        for name, node in {**seen.ids, **resources}.items():
            specification = _with_anchors(node, seen.anchors.get(name, {}))
            registry = registry.with_resource(name, _Resource(node, specification))
        self._registry = registry.crawl()
        self._left_out = left_out
        self._found: dict[tuple[str, str], Place] = {}

    def find(self, reference: str, base: str) -> Place:
        """What a reference refers to; OperationError when there is nothing."""
        found = self._found.get((base, reference))
        if found is None:
            try:
                resolved = self._registry.resolver(base).lookup(reference)
            except (Unresolvable, ValueError, TypeError):
                why = self._left_out.get(joined(base, reference)[0], "there is no such place")
                raise OperationError(f"it refers to {shown(reference)}: {why}") from None
            where, fragment = joined(base, reference)
            key = f"{where}#{unquote(fragment)}"
            found = Place(resolved.contents, where, key)
            self._found[base, reference] = found
        return found

    def followed(self, node: Any, base: str) -> tuple[Any, str]:
        """The node itself or, when it is a reference, what is at the end of it."""
        key = ""
        for _ in range(_MOST_HOPS):
            reference = node.get("$ref") if isinstance(node, dict) else None
            if not isinstance(reference, str):
                return node, base
            place = self.find(reference, base)
            node, base, key = place.node, place.base, place.key
        raise OperationError(f"the reference to {shown(key)} leads to itself")

    def object_at(self, node: Any, base: str, what: str) -> tuple[Mapping[str, Any], str]:
        """The same, and an OperationError for what is no object in the end."""
        found, base = self.followed(node, base)
        if not isinstance(found, dict):
            raise OperationError(f"{what} is no object")
        return found, base


def version_of(root: Mapping[str, Any]) -> str:
    """``2.0``, ``3.0``, ``3.1`` or ``3.2``; DocumentError for any other document."""
    said = root.get("openapi", root.get("swagger"))
    if isinstance(said, bool) or not isinstance(said, str | int | float):
        raise DocumentError("it is not an OpenAPI document: it has neither 'openapi' nor 'swagger'")
    short = ".".join(str(float(said) if isinstance(said, int) else said).split(".")[:2])
    if short not in _KNOWN:
        raise DocumentError(f"it is of version {shown(said)}; 2.0, 3.0, 3.1 and 3.2 are known")
    return short


def joined(base: str, reference: str) -> tuple[str, str]:
    """The address of a resource, and the fragment in it."""
    try:
        where, fragment = urldefrag(urljoin(base, reference))
    except ValueError:  # an odd host
        where, _, fragment = reference.partition("#")
    return where, fragment


def _with_anchors(root: Any, anchors: Mapping[str, Any]) -> Specification[Any]:
    """How referencing is to look at a resource: nothing in it but these anchors has a name."""

    def found(specification: Specification[Any], contents: Any) -> Iterator[Anchor[Any]]:
        if contents is root:
            for name, node in anchors.items():
                yield _Anchor(name=name, resource=_Resource(node, specification))

    made: Specification[Any] = _Specification(
        name="openapi",
        id_of=lambda contents: None,
        subresources_of=lambda contents: [],
        maybe_in_subresource=lambda segments, resolver, subresource: resolver,
        anchors_in=found,
    )
    return made
