"""URI templates, RFC 6570, all four levels; and what of them an argument can't change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from enclave_broker_network.paths import path_segment

from enclave_broker_core.errors import ArgumentsError

from .values import text_of

_RESERVED = ":/?#[]@!$&'()*+,;="
_EXPRESSION = re.compile(r"\{([^{}]*)\}|([{}])")
_INSIDE = re.compile(r"(?P<operator>[+#./;?&]?)(?P<variables>.+)", re.DOTALL)
_VARIABLE = re.compile(
    r"(?P<name>(?:[A-Za-z0-9_-]|%[0-9A-Fa-f]{2})(?:[A-Za-z0-9_.-]|%[0-9A-Fa-f]{2})*)"
    r"(?:(?P<explode>\*)|:(?P<prefix>[1-9][0-9]{0,3}))?"
)
_ENCODED = re.compile(r"(%[0-9A-Fa-f]{2})")


class _Kind(NamedTuple):
    """An operator's row of the table in RFC 6570, appendix A."""

    first: str
    separator: str
    named: bool = False
    if_empty: str = ""
    safe: str = ""


_KINDS: Mapping[str, _Kind] = {
    "": _Kind("", ","),
    "+": _Kind("", ",", safe=_RESERVED),
    "#": _Kind("#", ",", safe=_RESERVED),
    ".": _Kind(".", "."),
    "/": _Kind("/", "/"),
    ";": _Kind(";", ";", named=True),
    "?": _Kind("?", "&", named=True, if_empty="="),
    "&": _Kind("&", "&", named=True, if_empty="="),
}


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of an expression, with its modifier."""

    name: str
    explode: bool = False
    prefix: int | None = None


@dataclass(frozen=True, slots=True)
class Expression:
    """``{operator variables}``; ``in_query`` says that it stands behind the question mark."""

    operator: str
    variables: tuple[Variable, ...]
    in_query: bool


Check = Callable[[Expression, Variable, str], None]
"""Is shown each text that an expression is to hold, before it is encoded."""


class UriTemplate:
    """A URI template. ValueError for one that RFC 6570 does not allow."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: list[str | Expression] = []
        in_query, end = False, 0
        for match in _EXPRESSION.finditer(text):
            literal = text[end : match.start()]
            end = match.end()
            in_query = in_query or "?" in literal
            self._parts.append(_quoted(literal, _RESERVED, keep_encoded=True))
            if match[2] is not None:
                raise ValueError(f"a {match[2]!r} stands alone in the URL template")
            expression = _expression(match[1], in_query)
            in_query = expression.in_query
            self._parts.append(expression)
        self._parts.append(_quoted(text[end:], _RESERVED, keep_encoded=True))

    @property
    def expressions(self) -> Iterator[Expression]:
        return (part for part in self._parts if isinstance(part, Expression))

    def expand(self, values: Mapping[str, Any], check: Check | None = None) -> str:
        """The URI for JSON values; what is missing, null or empty is left out as RFC 6570 says.

        ArgumentsError for values in values, and whatever ``check`` raises.
        """
        return "".join(
            part if isinstance(part, str) else _expanded(part, values, check)
            for part in self._parts
        )


def _expression(inside: str, in_query: bool) -> Expression:
    found = _INSIDE.fullmatch(inside)
    variables = [] if found is None else found["variables"].split(",")
    taken = [_VARIABLE.fullmatch(variable) for variable in variables]
    if found is None or None in taken:
        raise ValueError(f"{{{inside}}} is no expression of a URL template")
    operator = found["operator"]
    return Expression(
        operator,
        tuple(
            Variable(
                one["name"], bool(one["explode"]), int(one["prefix"]) if one["prefix"] else None
            )
            for one in taken
            if one is not None
        ),
        in_query or operator == "?",
    )


def _expanded(expression: Expression, values: Mapping[str, Any], check: Check | None) -> str:
    kind = _KINDS[expression.operator]
    found: list[str] = []
    for variable in expression.variables:

        def encoded(text: str, variable: Variable = variable) -> str:
            if variable.prefix is not None:
                text = text[: variable.prefix]
            if check is not None:
                check(expression, variable, text)
            return _quoted(text, kind.safe, keep_encoded=bool(kind.safe))

        value = values.get(variable.name)
        if isinstance(value, list):
            found += _of_list(kind, variable, value, encoded)
        elif isinstance(value, dict):
            found += _of_object(kind, variable, value, encoded)
        elif value is not None:
            found.append(_named(kind, variable.name, encoded(text_of(value, variable.name))))
    return kind.first + kind.separator.join(found) if found else ""


Encode = Callable[[str], str]


def _of_list(kind: _Kind, variable: Variable, value: list[Any], encode: Encode) -> Iterator[str]:
    name = variable.name
    _no_prefix(variable)
    texts = [encode(text_of(item, name)) for item in value if item is not None]
    if variable.explode:
        yield from (_named(kind, name, text) for text in texts)
    elif texts:
        yield _named(kind, name, ",".join(texts))


def _of_object(
    kind: _Kind, variable: Variable, value: dict[str, Any], encode: Encode
) -> Iterator[str]:
    name = variable.name
    _no_prefix(variable)
    pairs = [
        (encode(key), encode(text_of(item, name)))
        for key, item in value.items()
        if item is not None
    ]
    if variable.explode:
        for key, text in pairs:
            yield f"{key}={text}" if text or not kind.named else key + kind.if_empty
    elif pairs:
        yield _named(kind, name, ",".join(f"{key},{text}" for key, text in pairs))


def _no_prefix(variable: Variable) -> None:
    if variable.prefix is not None:
        raise ArgumentsError(
            f"the argument {variable.name} must be a single value",
            fields=[(variable.name, "it must be a single value")],
        )


def _named(kind: _Kind, name: str, text: str) -> str:
    if not kind.named:
        return text
    return f"{name}={text}" if text else name + kind.if_empty


def _quoted(text: str, safe: str, *, keep_encoded: bool) -> str:
    if not keep_encoded:
        return quote(text, safe=safe)
    pieces = _ENCODED.split(text)
    # Every second piece is percent-encoded already.
    pieces[::2] = [quote(piece, safe=safe) for piece in pieces[::2]]
    return "".join(pieces)


def keep_in_place(expression: Expression, variable: Variable, text: str) -> None:
    """A Check: ArgumentsError for a text that could make another path of the URL.

    In a path each text is one segment or a part of one; with ``{+…}`` it may be several.
    """
    if expression.in_query:
        if "#" in text and expression.operator == "+":
            _refuse(variable.name, "it has a '#' in it")
        return
    if expression.operator == "+":
        if not set("?#").isdisjoint(text):
            _refuse(variable.name, "it has a '?' or a '#' in it")
        for segment in text.split("/"):
            path_segment(segment, argument=variable.name)
    elif text or expression.operator != ";":
        path_segment(text, argument=variable.name)


def _refuse(argument: str, reason: str) -> None:
    raise ArgumentsError(
        f"the argument {argument} can't stand in a URL: {reason}", fields=[(argument, reason)]
    )
