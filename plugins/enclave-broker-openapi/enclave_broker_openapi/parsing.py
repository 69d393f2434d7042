"""A document's bytes as plain values: JSON, or YAML read event by event within bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic_core import from_json

from .problems import DocumentError, shown

# What is read is a tree, but YAML's aliases may make it look much larger than its text.
MOST_NODES = 4_000_000
DEEPEST = 150
# Every node of JSON has one of these after it or around it. Texts have some too.
_MARKS = (b",", b"{", b"[")

# The core schema of YAML 1.2, which OpenAPI prescribes: "no", "on" and dates are texts.
_WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OTHER_INTEGER = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 400


def read(text: bytes, name: str) -> dict[str, Any]:
    """The object that a document is. DocumentError for what is neither JSON nor YAML, is no
    object, or is larger or deeper than any description of a service.
    """
    text = text.removeprefix(b"\xef\xbb\xbf")
    value: Any
    if text.lstrip()[:1] == b"{":
        if sum(map(text.count, _MARKS)) > 2 * MOST_NODES:
            raise DocumentError(f"{name} has more than {MOST_NODES} nodes")
        try:
            value = from_json(text, allow_inf_nan=False)
        except ValueError as problem:
            try:
                value = _read_yaml(text)
            except DocumentError:
                raise DocumentError(f"{name} is not JSON: {problem}") from None
    else:
        try:
            value = _read_yaml(text)
        except DocumentError as problem:
            raise DocumentError(f"{name} is not YAML: {problem.message}") from None
    if not isinstance(value, dict):
        raise DocumentError(f"{name} is not an OpenAPI document: it is no object")
    return value


@dataclass(slots=True)
class _Built:
    """A value, with how many nodes it shows and how deep it is when its aliases are followed."""

    value: Any
    nodes: int = 1
    depth: int = 1


def _read_yaml(text: bytes) -> Any:
    # libyaml's, where PyYAML was built with it, is some ten times faster.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder(yaml.parse(text, Loader=loader)).document()
    except (yaml.YAMLError, ValueError) as problem:
        raise DocumentError(_in_one_line(problem)) from None
    except RecursionError:
        raise DocumentError(f"it is nested more than {DEEPEST} levels deep") from None


def _in_one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:300]


class _Builder:
    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, _Built] = {}

    def document(self) -> Any:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                value = self._node(next(self._events), 0).value
                ended = isinstance(next(self._events), yaml.DocumentEndEvent)
                if not ended or not isinstance(next(self._events), yaml.StreamEndEvent):
                    raise DocumentError("it holds more than one document")
                return value
        return None

    def _node(self, event: Any, depth: int) -> _Built:
        if depth > DEEPEST:
            raise DocumentError(f"it is nested more than {DEEPEST} levels deep")
        if isinstance(event, yaml.ScalarEvent):
            built = _Built(_scalar(event))
        elif isinstance(event, yaml.AliasEvent):
            # One of an anchor that is not finished refers to itself, and is not known yet.
            if event.anchor not in self._anchors:
                raise DocumentError(f"the alias {shown(event.anchor)} has no anchor before it")
            built = self._anchors[event.anchor]
            if depth + built.depth > DEEPEST:
                raise DocumentError(f"it is nested more than {DEEPEST} levels deep")
        elif isinstance(event, yaml.SequenceStartEvent):
            built = self._sequence(depth)
        else:
            built = self._mapping(depth)
        if getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
            self._anchors[event.anchor] = built
        return built

    def _sequence(self, depth: int) -> _Built:
        built = _Built([])
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            item = self._node(event, depth + 1)
            built.value.append(item.value)
            _count(built, item)
        return built

    def _mapping(self, depth: int) -> _Built:
        built, merged = _Built({}), list[Any]()
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise DocumentError("a key is not a text")
            key = event.value
            item = self._node(next(self._events), depth + 1)
            _count(built, item)
            if key == "<<" and event.implicit[0]:
                merged += item.value if isinstance(item.value, list) else [item.value]
            else:
                built.value[key] = item.value
        for other in merged:
            if not isinstance(other, dict):
                raise DocumentError("'<<' merges what is no mapping")
            built.value = {**other, **built.value}
        return built


def _count(built: _Built, item: _Built) -> None:
    built.nodes += item.nodes
    built.depth = max(built.depth, item.depth + 1)
    if built.nodes > MOST_NODES:
        raise DocumentError(f"it has more than {MOST_NODES} nodes, its aliases followed")


def _scalar(event: Any) -> Any:
    text: str = event.value
    if event.tag is not None:
        convert = _TAGS.get(event.tag)
        return text if convert is None else convert(text)
    return _plain(text) if event.implicit[0] else text


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER or text[0] not in "-+.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OTHER_INTEGER.fullmatch(text):
        return int(text, 0)
    # What JSON has no word for, ".inf" and "1e999", stays a text.
    number = float(text) if _FLOAT.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


_TAGS: Mapping[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:int": _plain,
    "tag:yaml.org,2002:float": _plain,
    "tag:yaml.org,2002:bool": _plain,
    "tag:yaml.org,2002:null": _plain,
}
