"""Texts with places for arguments and secrets: ``{name}``, ``{secret:NAME}``, ``{{`` and ``}}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .values import text_of

ALL_OTHERS = "*"

_PLACE = re.compile(r"\{\{|\}\}|\{(?P<inside>[^{}]*)\}|[{}]")
_NAME = re.compile(r"(?P<secret>secret:(?P<of>\S+))|(?P<name>[A-Za-z0-9_.-]+|\*)")

MISSING: Any = object()
"""Stands for what an argument that was not given leaves out."""

SecretOf = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Argument:
    name: str


@dataclass(frozen=True, slots=True)
class Secret:
    name: str


class Values:
    """What fills the places of one call: arguments by name, and secrets as they are asked for.

    ``used`` are the names of all arguments that have a place of their own: ``{*}`` is an
    object of the others. ``secrets`` collects the texts that secrets are in.
    """

    def __init__(
        self, arguments: Mapping[str, Any], used: frozenset[str], secret: SecretOf
    ) -> None:
        self._arguments = arguments
        self._used = used
        self._secret = secret
        self.secrets: set[str] = set()

    def argument(self, name: str) -> Any:
        if name == ALL_OTHERS:
            given = self._arguments.items()
            return {key: value for key, value in given if key not in self._used}
        return self._arguments.get(name, MISSING)

    def secret(self, name: str) -> str:
        value = self._secret(name)
        self.secrets.add(value)
        return value


Check = Callable[[str, str], str]
"""A text of an argument, and the argument's name: gives it back or raises ArgumentsError."""


class Text:
    """A text of the configuration. ValueError for a brace that is no place."""

    def __init__(self, text: str) -> None:
        self._parts: list[str | Argument | Secret] = []
        end = 0
        for match in _PLACE.finditer(text):
            self._add(text[end : match.start()])
            end = match.end()
            if match.group() in ("{{", "}}"):
                self._add(match.group()[0])
            else:
                self._parts.append(_place(match["inside"]))
        self._add(text[end:])

    def _add(self, literal: str) -> None:
        if literal and self._parts and isinstance(self._parts[-1], str):
            self._parts[-1] += literal
        elif literal:
            self._parts.append(literal)

    @property
    def arguments(self) -> Iterator[str]:
        return (part.name for part in self._parts if isinstance(part, Argument))

    @property
    def secrets(self) -> Iterator[str]:
        return (part.name for part in self._parts if isinstance(part, Secret))

    @property
    def literal(self) -> str:
        """What stands in it beside the places."""
        return "".join(part for part in self._parts if isinstance(part, str))

    @property
    def only(self) -> str | None:
        """The name of the argument when there is nothing else in the text."""
        match self._parts:
            case [Argument(name)]:
                return name
            case _:
                return None

    def value(self, values: Values) -> Any:
        """As JSON: an argument alone keeps its type. MISSING when an argument was not given."""
        return self.text(values) if self.only is None else values.argument(self.only)

    def text(self, values: Values, check: Check | None = None) -> Any:
        """As text; MISSING when an argument was not given. ArgumentsError for what is no text."""
        said = ""
        for part in self._parts:
            if isinstance(part, str):
                said += part
            elif isinstance(part, Secret):
                said += values.secret(part.name)
            else:
                value = values.argument(part.name)
                if value is MISSING or value is None:
                    return MISSING
                text = text_of(value, part.name)
                said += text if check is None else check(text, part.name)
        return said

    def texts(self, values: Values) -> list[str]:
        """None, one, or as many as an argument that stands alone has items."""
        value = MISSING if self.only is None else values.argument(self.only)
        if isinstance(value, list):
            return [text_of(item, str(self.only)) for item in value if item is not None]
        text = self.text(values)
        return [] if text is MISSING else [text]


def _place(inside: str | None) -> Argument | Secret:
    found = None if inside is None else _NAME.fullmatch(inside)
    if found is None:
        raise ValueError(
            "a place is written {argument} or {secret:NAME}, and a brace that is none {{ or }}"
        )
    return Secret(found["of"]) if found["secret"] else Argument(found["name"])
