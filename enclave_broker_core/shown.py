"""The output that a log has of code which goes on from an earlier point than that."""

from __future__ import annotations

from pydantic_core import from_json

from . import events
from .events import Draft


class Shown:
    """What was printed and logged already, so that it isn't shown again."""

    def __init__(self) -> None:
        self._printed: list[str] = []
        self._text: str | None = None
        self._logged: list[bytes] = []

    def add(self, output: Draft) -> None:
        """Take note of an event of the log, ``stdout`` or ``log``."""
        kind, payload = output
        if kind == "stdout":
            self._printed.append(from_json(payload)["chunk"])
        else:
            self._logged.append(payload)

    def rest(self, output: Draft) -> Draft | None:
        """What of the code's next output was not shown.

        Code that prints something else this time shows all of it from there on.
        """
        kind, payload = output
        if kind != "stdout":
            if payload not in self._logged:
                return output
            self._logged.remove(payload)
            return None
        if self._text is None:
            self._text = "".join(self._printed)
        if not self._text:
            return output
        chunk: str = from_json(payload)["chunk"]
        same = _common(self._text, chunk)
        self._text = self._text[same:] if same == len(chunk) else ""
        return events.stdout(chunk[same:]) if same < len(chunk) else None


def _common(one: str, other: str) -> int:
    """How many characters are the same from the beginning on."""
    if one.startswith(other) or other.startswith(one):
        return min(len(one), len(other))
    return next(index for index in range(len(one)) if one[index] != other[index])
