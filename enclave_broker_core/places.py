"""Finds the line in a TOML file on which something stands; tomllib tells none."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Place = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BETWEEN = re.compile(r"(?:[ \t\r\n,]+|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|(?!""")[^\\])*"""(?:"{0,2})'
    r"|'''(?:(?!''').)*'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\n#]+")
_DOT = re.compile(r"[ \t]*\.[ \t]*")


def written(place: Place) -> str:
    """A place as people write it: ``access.rules[1].pattern``."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = str(part)
            if not _BARE_KEY.fullmatch(name):
                name = '"' + name.replace('"', '\\"') + '"'
            text += f".{name}" if text else name
    return text


class Places:
    """Place → line, for a text that is valid TOML."""

    def __init__(self, text: str) -> None:
        self.lines = _Scan(text).lines

    def line(self, place: Place) -> int | None:
        """The line of the place, or of the nearest thing around it; None for the whole."""
        while place:
            if place in self.lines:
                return self.lines[place]
            place = place[:-1]
        return None


class _Scan:
    """One pass over a text. It may trust the text: tomllib has read it before."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Place, int] = {}
        self._text = text
        self._at = 0
        self._breaks = [at for at, char in enumerate(text) if char == "\n"]
        self._lengths: dict[Place, int] = {}
        table: Place = ()
        while self._next(_SPACE):
            table = self._header() if text[self._at] == "[" else self._pair(table)

    def _next(self, skipped: re.Pattern[str]) -> bool:
        """Skip, and say whether anything is left."""
        self._skip(skipped)
        return self._at < len(self._text)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return match.group() if match else ""

    def _line(self) -> int:
        return bisect_right(self._breaks, self._at - 1) + 1

    def _header(self) -> Place:
        """``[table]`` or ``[[array]]``: the place of what follows."""
        line = self._line()
        of_array = self._text.startswith("[[", self._at)
        self._at += 2 if of_array else 1
        self._next(_SPACE)
        *around, last = self._keys()
        place: Place = ()
        for key in around:
            place = self._inside((*place, key), line)
        place = (*place, last)
        if of_array:
            self.lines.setdefault(place, line)
            index = self._lengths.get(place, 0)
            self._lengths[place] = index + 1
            place = (*place, index)
        self.lines[place] = line
        self._next(_SPACE)
        self._at += 2 if of_array else 1
        return place

    def _inside(self, place: Place, line: int) -> Place:
        """A table on the way to another: of an array of tables it is the last."""
        self.lines.setdefault(place, line)
        return (*place, self._lengths[place] - 1) if place in self._lengths else place

    def _pair(self, table: Place) -> Place:
        """``key = value``; the table that it stands in goes on."""
        line = self._line()
        place = table
        for key in self._keys():
            place = (*place, key)
            self.lines.setdefault(place, line)
        self._next(_SPACE)
        self._at += 1  # the equals sign
        self._next(_SPACE)
        self._value(place)
        return table

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while self._skip(_DOT):
            keys.append(self._key())
        self._next(_SPACE)
        return keys

    def _key(self) -> str:
        if self._text[self._at] in "\"'":
            key: str = tomllib.loads(f"key = {self._skip(_STRING)}")["key"]
            return key
        return self._skip(_BARE_KEY)

    def _value(self, place: Place) -> None:
        first = self._text[self._at]
        if first == "[":
            self._at += 1
            index = 0
            while self._next(_BETWEEN) and self._text[self._at] != "]":
                self.lines[(*place, index)] = self._line()
                self._value((*place, index))
                index += 1
            self._at += 1
        elif first == "{":
            self._at += 1
            while self._next(_BETWEEN) and self._text[self._at] != "}":
                self._pair(place)
            self._at += 1
        elif first in "\"'":
            self._skip(_STRING)
        else:
            self._skip(_BARE_VALUE)
