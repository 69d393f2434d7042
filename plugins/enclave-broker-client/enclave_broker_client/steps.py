"""What the client does, as steps that are taken on an event loop or without one.

A ``Steps`` generator decides what to do and does none of it: it yields a step, and gets back
what came of it, or a ConnectionLostError. ``driving`` takes the steps.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic_core import to_json

T = TypeVar("T")
Steps = Generator["Open | Read | Close | Pause", Any, T]

JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request; gives the Head of its answer. ``patience``, in seconds, is how long a
    read may bring nothing."""

    method: str
    path: str
    patience: float
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """An answer's status and headers, their names in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Read:
    """The next bytes of the answer; none at its end."""


@dataclass(frozen=True, slots=True)
class Close:
    """Let go of the answer, however much of it there still is."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, in seconds."""

    seconds: float


def post(
    path: str,
    body: Any,
    patience: float,
    *,
    accept: str = JSON,
    headers: Mapping[str, str] | None = None,
) -> Open:
    """A request with a body of JSON; ``bytes`` are JSON already."""
    sent = body if isinstance(body, bytes) else to_json(body)
    said = {"accept": accept, "content-type": JSON, **(headers or {})}
    return Open("POST", path, patience, body=sent, headers=said)


def get(
    path: str, patience: float, *, accept: str = JSON, query: Mapping[str, str] | None = None
) -> Open:
    return Open("GET", path, patience, query=query or {}, headers={"accept": accept})
