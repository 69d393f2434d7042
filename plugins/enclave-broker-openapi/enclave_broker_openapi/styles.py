"""Values as OpenAPI's styles write them into a path, a query, a header and a cookie.

The styles are those of RFC 6570 where it has them. A null is left out, as there what is not
defined; what a style has no form for, a list in a list or an object in an object, is JSON.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from enclave_broker_network.fields import header_value
from enclave_broker_network.paths import path_segment
from pydantic_core import to_json

from enclave_broker_core.errors import ArgumentsError

from .parameters import Parameter

Encode = Callable[[str], str]

DELIMITERS: Mapping[str, str] = {
    "simple": ",",
    "form": ",",
    "cookie": ",",
    "spaceDelimited": " ",
    "pipeDelimited": "|",
    "tabDelimited": "\t",
}
# What allowReserved leaves as it is: not what ends a value, a query or its encoding.
_RESERVED = ":/?@!$'()*,;="
_COOKIE_OCTETS = "!#$&'()*+-./:<=>?@[]^_`{|}~"
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")


def text_of(value: Any) -> str:
    """A single value as text; what is not single is JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)  # an integer's schema lets 1.0 pass
    return to_json(value).decode()


def items_of(value: Any) -> list[str]:
    """The items of a list."""
    return [text_of(item) for item in value if item is not None]


def members_of(value: Any) -> list[tuple[str, str]]:
    """The keys and the values of an object."""
    return [(key, text_of(item)) for key, item in value.items() if item is not None]


def wrong(argument: str, reason: str) -> ArgumentsError:
    """The error of an argument that fits its schema and can't be sent."""
    return ArgumentsError(
        f"the argument {argument} can't be sent: {reason}", fields=[(argument, reason)]
    )


def percent(text: str, argument: str, safe: str = "") -> str:
    """The text percent-encoded."""
    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError:
        raise wrong(argument, "it has characters that UTF-8 can't hold") from None


# Paths


def in_path(parameter: Parameter, value: Any) -> str:
    """What takes the place of ``{name}``; ArgumentsError for what could leave that place."""
    argument = parameter.argument

    def encode(text: str) -> str:
        return path_segment(text, argument=argument)

    if value is None:
        raise wrong(argument, "a path has no place for null")
    if parameter.content_type is not None:
        return encode(content_text(parameter, value))
    if not isinstance(value, list | dict):
        text = text_of(value)
        if parameter.style == "matrix":
            name = percent(parameter.name, argument)
            return f";{name}={encode(text)}" if text else f";{name}"
        return f".{encode(text)}" if parameter.style == "label" else encode(text)
    if parameter.style == "matrix":
        return _matrix(parameter, value, encode)
    first, between = (".", ".") if parameter.style == "label" else ("", ",")
    if not parameter.explode:
        between = quote(DELIMITERS.get(parameter.style, ","), safe=",")
    equals = "=" if parameter.explode else between
    if isinstance(value, dict):
        parts = [f"{encode(key)}{equals}{encode(text)}" for key, text in members_of(value)]
    else:
        parts = [encode(text) for text in items_of(value)]
    if not parts:
        raise wrong(argument, "a path has no place for what is empty")
    return first + between.join(parts)


def _matrix(parameter: Parameter, value: Any, encode: Encode) -> str:
    name = percent(parameter.name, parameter.argument)
    if isinstance(value, dict):
        members = [(encode(key), encode(text)) for key, text in members_of(value)]
        if parameter.explode:
            return "".join(f";{key}={text}" for key, text in members)
        texts = [text for member in members for text in member]
    else:
        texts = [encode(text) for text in items_of(value)]
        if parameter.explode:
            return "".join(f";{name}={text}" for text in texts)
    return f";{name}={','.join(texts)}" if texts else ""


# Queries


def in_query(parameter: Parameter, value: Any) -> list[str]:
    """The ``key=value`` parts of a query, percent-encoded."""
    argument = parameter.argument
    safe = _RESERVED if parameter.allow_reserved else ""

    def encode(text: str, safe: str = safe) -> str:
        return percent(text, argument, safe)

    if value is None:
        return []
    name = encode(parameter.name, "")
    if parameter.content_type is not None:
        return [f"{name}={encode(content_text(parameter, value))}"]
    return styled_pairs(parameter.style, parameter.explode, name, value, encode)


def styled_pairs(
    style: str, explode: bool, name: str, value: Any, encode: Callable[..., str]
) -> list[str]:
    """The same for any style of queries and forms; ``name`` is encoded already."""
    if not isinstance(value, list | dict):
        return [f"{name}={encode(text_of(value))}"]
    if style == "deepObject":
        return _deep(name, value, encode)
    if explode:
        if isinstance(value, dict):
            return [f"{encode(key, '')}={encode(text)}" for key, text in members_of(value)]
        return [f"{name}={encode(text)}" for text in items_of(value)]
    if isinstance(value, dict):
        texts = [text for member in members_of(value) for text in member]
    else:
        texts = items_of(value)
    # The delimiter itself has to be encoded where it is part of a value.
    plain = "" if style == "form" else None
    between = quote(DELIMITERS[style], safe=",")
    joined = between.join(encode(text, plain or "") for text in texts)
    return [f"{name}={joined}"] if texts else []


def _deep(name: str, value: Any, encode: Callable[..., str]) -> list[str]:
    """``name[key]=value``. Deeper than the specification goes as most servers read it."""
    parts: list[str] = []
    if isinstance(value, dict):
        inner = [(f"{name}%5B{encode(key, '')}%5D", item) for key, item in value.items()]
    else:
        plain = not any(isinstance(item, list | dict) for item in value)
        inner = [(f"{name}%5B{'' if plain else at}%5D", item) for at, item in enumerate(value)]
    for key, item in inner:
        if isinstance(item, list | dict):
            parts += _deep(key, item, encode)
        elif item is not None:
            parts.append(f"{key}={encode(text_of(item))}")
    return parts


def whole_query(parameter: Parameter, value: Any) -> str:
    """The query that one parameter is all of."""
    if parameter.content_type == "application/x-www-form-urlencoded":
        members = members_of(value) if isinstance(value, dict) else []
        return "&".join(
            f"{form_text(key, parameter.argument)}={form_text(text, parameter.argument)}"
            for key, text in members
        )
    return percent(content_text(parameter, value), parameter.argument)


def form_text(text: str, argument: str) -> str:
    """A text as HTML forms are encoded: a space is a plus."""
    try:
        return quote_plus(text, safe="")
    except UnicodeEncodeError:
        raise wrong(argument, "it has characters that UTF-8 can't hold") from None


def content_text(parameter: Parameter, value: Any) -> str:
    """A value as a document of the parameter's own type."""
    if parameter.content_type in ("text/plain", "application/xml") and isinstance(value, str):
        return value
    return ascii_json(value) if parameter.location == "header" else to_json(value).decode()


def ascii_json(value: Any) -> str:
    """JSON that a header can hold."""
    return "".join(char if char < "\x7f" else _escaped(char) for char in to_json(value).decode())


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


# Headers and cookies


def in_header(parameter: Parameter, value: Any) -> str | None:
    """The header's value, as it is: what can't be sent like that is an ArgumentsError."""
    argument = parameter.argument
    if value is None:
        return None
    if parameter.content_type is not None:
        return header_value(content_text(parameter, value), argument=argument)
    if not isinstance(value, list | dict):
        return header_value(text_of(value), argument=argument)
    between = DELIMITERS.get(parameter.style, ",")
    equals = "=" if parameter.explode else between
    parts = _separate(value, between + equals if parameter.explode else between, argument)
    joined = [equals.join(part) for part in parts]
    return header_value(between.join(joined), argument=argument) if joined else None


def in_cookie(parameter: Parameter, value: Any) -> list[str]:
    """The ``name=value`` pairs of the Cookie header."""
    argument, explode = parameter.argument, parameter.explode
    if value is None:
        return []
    if parameter.content_type is not None:
        pairs = [(parameter.name, content_text(parameter, value))]
    elif not isinstance(value, list | dict):
        pairs = [(parameter.name, text_of(value))]
    elif explode and isinstance(value, dict):
        pairs = members_of(value)
    elif explode:
        pairs = [(parameter.name, text) for text in items_of(value)]
    else:
        parts = _separate(value, "," if parameter.style == "cookie" else "", argument)
        encoded = [_cookie_text(parameter, text) for part in parts for text in part]
        return [f"{_cookie_name(parameter.name, argument)}={','.join(encoded)}"] if encoded else []
    return [
        f"{_cookie_name(name, argument)}={_cookie_text(parameter, text)}" for name, text in pairs
    ]


def _separate(value: Any, forbidden: str, argument: str) -> Sequence[tuple[str, ...]]:
    """The parts of a list or an object, none of which may hold what separates them."""
    parts: Sequence[tuple[str, ...]]
    parts = members_of(value) if isinstance(value, dict) else [(t,) for t in items_of(value)]
    for text in (text for part in parts for text in part):
        if any(char in text for char in forbidden) or text != text.strip(" \t"):
            raise wrong(argument, f"an item has {' or '.join(map(repr, forbidden))} in it")
    return parts


def _cookie_name(name: str, argument: str) -> str:
    if _COOKIE_NAME.fullmatch(name) is None:
        raise wrong(argument, "the name can't be a cookie's")
    return name


def _cookie_text(parameter: Parameter, text: str) -> str:
    if parameter.style != "cookie":
        return percent(text, parameter.argument, _COOKIE_OCTETS)
    if _COOKIE_VALUE.fullmatch(text) is None:
        raise wrong(parameter.argument, "it has characters that a cookie can't hold")
    return text
