"""Odd names, values and arguments: what a part must live with."""

from __future__ import annotations

from typing import Any, Final

# All are texts that UTF-8 can hold: a broker lets in no others.
NAMES: Final = (
    "",
    " ",
    "\0",
    "a\0b",
    "two\nlines",
    "\r\n",
    "é ☃ 𝔘",
    "\u202ebackwards",
    "*",
    "[",
    "{a,b",
    "%s %n {0.__class__}",
    "../../../../etc/passwd",
    "/etc/passwd",
    "__class__",
    ":" * 5_000,
    "a" * 100_000,
)


def deep(levels: int = 90) -> Any:
    """A JSON value with so many levels of lists and objects; a broker lets in 100."""
    value: Any = "end"
    for level in range(levels):
        value = [value] if level % 2 else {"": value}
    return value


def arguments() -> dict[str, Any]:
    """An object, made anew, that holds most of what JSON can and few expect."""
    return {
        "": None,
        "__class__": "__init__",
        "a\0b": "\0",
        "deep": deep(),
        "large": 10**300,
        "long": "☃" * 50_000,
        "many": list(range(10_000)),
        "number": -0.0,
        "id": ["no", {"id": True}],
    }
