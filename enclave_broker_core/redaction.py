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
    ordinary text. A value is found as it is and as JSON writes it.
    """

    def __init__(self) -> None:
        self.active = False  # whether there is anything to blot out; asked on the hot path
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        """Blot ``value`` out from now on."""
        if len(value) < SHORTEST:
            return
        forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        if forms <= self._forms:
            return
        self._forms |= forms
        self.active = True
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(form) for form in longest_first))

    def text(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(BLOT, text)

    def json(self, text: bytes) -> bytes:
        """JSON text with the values blotted out; it stays JSON."""
        if self._pattern is None or self._pattern.search(text.decode()) is None:
            return text
        return to_json(self._blotted(from_json(text)))

    def value(self, value: Any) -> Any:
        """A JSON value with the secrets blotted out."""
        return self._blotted(value)

    def _blotted(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._blotted(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._blotted(item) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            # A number in which a secret is would otherwise not be a number any more.
            written = to_json(value).decode()
            return value if self.text(written) == written else BLOT
        return value
