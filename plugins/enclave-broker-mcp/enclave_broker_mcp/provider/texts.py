"""Texts of servers, which nobody here has read: made short, and free of what nobody can see."""

from __future__ import annotations

import unicodedata

LONGEST_DESCRIPTION = 4096
LONGEST_MESSAGE = 2000

# Controls, formats (bidi, zero width, tags), surrogates, private and unassigned characters,
# separators of lines: a person who reads the text sees none of them, and a model does.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# What Unicode counts among letters, marks and symbols, and shows as nothing all the same.
_BLANK = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}
    | {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
)
_LINE_BREAKS = str.maketrans({"\r": "\n", "\u2028": "\n", "\u2029": "\n", "\x85": "\n"})


def is_hidden(char: str) -> bool:
    """Whether a character is one that nobody sees; line breaks and tabs are not."""
    if char in "\n\t" or " " <= char <= "~":
        return False
    return unicodedata.category(char) in _HIDDEN or ord(char) in _BLANK


def has_hidden(text: str) -> bool:
    return not (text.isascii() and text.isprintable()) and any(map(is_hidden, text))


def visible(text: str, most: int = LONGEST_DESCRIPTION) -> str:
    """The text without what nobody sees, and not longer than ``most`` characters."""
    text = text[: 2 * most].replace("\r\n", "\n").translate(_LINE_BREAKS)
    if has_hidden(text):
        text = "".join(char for char in text if not is_hidden(char))
    text = text.strip()
    return text if len(text) <= most else f"{text[: most - 1]}…"


def line(text: str, most: int) -> str:
    """The same as one line."""
    return visible(" ".join(text[: 2 * most].split()), most)
