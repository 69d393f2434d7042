"""Blots the values of secrets out of texts, wherever they surface."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import from_json, to_json

SHORTEST = 8
BLOT = "[secret]"


class Redactor:
    """Knows the values that were handed out and replaces them by ``[secret]``.

    Values of fewer than eight characters are left: blotting them out would garble
    ordinary text. A value is found as it is, and as JSON or Python writes it.
    """

    def __init__(self) -> None:
        self.active = False  # whether there is anything to blot out; asked on the hot path
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        """Blot ``value`` out from now on."""
        if len(value) < SHORTEST:
            return
        written = json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value)
        forms = {value, *(form[1:-1] for form in written)}
        if forms <= self._forms:
            return
        self._forms |= forms
        self.active = True
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(form) for form in longest_first))

    def text(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(BLOT, text)

    def json(self, text: bytes) -> bytes:
        """JSON text with the values blotted out; it stays JSON.

        Also in the names of its objects and in numbers; what holds a value only as a
        whole, as its own JSON text, is blotted out as a whole.
        """
        pattern = self._pattern
        if pattern is None:
            return text
        plain = text.decode()
        # Whoever wrote the text may have escaped more than this program does.
        if pattern.search(plain) is None and "\\u" not in plain and "\\/" not in plain:
            return text
        value = _each(from_json(text), pattern)
        text = to_json(value)
        if pattern.search(text.decode()) is not None:
            whole = _whole(value, pattern)
            # Arguments are an object, whatever was in them.
            text = to_json({BLOT: BLOT} if whole == BLOT and isinstance(value, dict) else whole)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value with the secrets blotted out; the value itself when there are none."""
        text = to_json(value)
        blotted = self.json(text)
        return value if blotted is text else from_json(blotted)


def _each(value: Any, pattern: re.Pattern[str]) -> Any:
    """With every text and every number blotted out that holds a secret."""
    if isinstance(value, str):
        return pattern.sub(BLOT, value)
    if isinstance(value, dict):
        return {pattern.sub(BLOT, key): _each(item, pattern) for key, item in value.items()}
    if isinstance(value, list):
        return [_each(item, pattern) for item in value]
    if isinstance(value, int | float) and pattern.search(to_json(value).decode()):
        return BLOT
    return value


def _whole(value: Any, pattern: re.Pattern[str]) -> Any:
    """With every list and object blotted out whose JSON text holds a secret."""
    if isinstance(value, dict):
        value = {key: _whole(item, pattern) for key, item in value.items()}
    elif isinstance(value, list):
        value = [_whole(item, pattern) for item in value]
    else:
        return value
    return BLOT if pattern.search(to_json(value).decode()) else value
