"""What code printed and logged, as far as the client is shown it."""

from __future__ import annotations

from collections import deque
from typing import Any

LONGEST_LOG = 1000


class Printed:
    """Keeps the last characters: what a program says in the end matters most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._chunks: deque[tuple[str, dict[str, str] | None]] = deque()
        self._size = 0
        self._dropped = 0

    def add(self, chunk: str) -> None:
        self._take(chunk, None)

    def add_log(self, level: str, message: str) -> None:
        text = message[:LONGEST_LOG]
        self._take(text, {"level": level, "message": text})

    def _take(self, text: str, log: dict[str, str] | None) -> None:
        if log is None and len(text) > self._most:
            self._dropped += len(text) - self._most
            text = text[-self._most :]
        self._chunks.append((text, log))
        self._size += len(text) + (log is not None)
        while self._size > self._most and len(self._chunks) > 1:
            gone, was_log = self._chunks.popleft()
            self._size -= len(gone) + (was_log is not None)
            self._dropped += len(gone)

    def said(self) -> dict[str, Any]:
        """``{stdout, logs?, droppedChars?}``."""
        logs = [log for _, log in self._chunks if log is not None]
        said: dict[str, Any] = {"stdout": "".join(text for text, log in self._chunks if not log)}
        if logs:
            said["logs"] = logs
        if self._dropped:
            said["droppedChars"] = self._dropped
        return said
