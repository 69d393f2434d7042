"""Secrets as others write them, and whether one can be read in a text."""

from __future__ import annotations

import base64
import re
import string
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote, unquote_plus


def lower(text: str) -> str:
    """With the escapes in lower case."""
    return re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), text)


def every(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


# What no encoder escapes everywhere.
LEFT = string.punctuation.replace("%", "").replace('"', "")

IN_URLS: Mapping[str, Callable[[str], str]] = {
    "component": lambda text: quote(text, safe=""),
    "path": quote,
    "as browsers do": lambda text: quote(text, safe="!'()*~-._"),
    "most left": lambda text: quote(text, safe=LEFT),
    "form": quote_plus,
    "everything": every,
    "lower component": lambda text: lower(quote(text, safe="")),
    "lower form": lambda text: lower(quote_plus(text)),
    "lower everything": lambda text: lower(every(text)),
    "encoded once": lambda text: quote(text, safe="%"),
}


def in_base64(before: str, value: str, after: str) -> Iterator[str]:
    """A longer text in all kinds of base64."""
    data = f"{before}{value}{after}".encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(data).decode()
        yield text
        yield text.rstrip("=")
        yield quote(text, safe="")


def holds(text: str, value: str) -> bool:
    """Whether a value can be read in a text: as it is, percent-decoded or in base64."""
    if any(value in read(text) for read in (str, unquote, unquote_plus)):
        return True
    plain = unquote(text).replace("-", "+").replace("_", "/")
    return any(
        value.encode() in base64.b64decode(_whole(run[start:]))
        for run in re.findall("[A-Za-z0-9+/]{8,}", plain)
        for start in range(4)
    )


def _whole(run: str) -> str:
    """With padding, and without a character too many."""
    run = run[:-1] if len(run) % 4 == 1 else run
    return run + "=" * (-len(run) % 4)
