"""Which tools a middleware is for, and what of a call keeps it apart from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue

from enclave_broker_core.models import Principal
from enclave_broker_core.pattern_index import PatternIndex
from enclave_broker_core.patterns import Pattern, PatternText

ErrorCode = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]


def _some(texts: tuple[str, ...]) -> tuple[str, ...]:
    # Not by min_length: it would also be told of a list whose one item is wrong.
    if not texts:
        raise ValueError("there is no pattern in it")
    return texts


ToolPatterns = Annotated[tuple[PatternText, ...], AfterValidator(_some)]


class Tools:
    """Patterns of names: ``name in tools`` and, of several, which is the first."""

    __slots__ = ("_index", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        self._index = PatternIndex([Pattern(text) for text in texts])

    def __contains__(self, name: str) -> bool:
        return self._index.first(name) >= 0

    def first(self, name: str) -> str | None:
        """The first pattern that matches."""
        position = self._index.first(name)
        return None if position < 0 else self.texts[position]

    def all(self, name: str) -> list[int]:
        """The places of all patterns that match."""
        return self._index.all(name)


def caller(principal: Principal | None) -> tuple[str | None, str] | None:
    """Who it is, as a key; None is the program itself."""
    return None if principal is None else (principal.tenant, principal.id)


def whole(principal: Principal | None) -> JsonValue:
    """All that a tool may know of a principal; the same for the same principal."""
    if principal is None:
        return None
    return [
        principal.id,
        principal.tenant,
        [*sorted(principal.roles)],
        dict(principal.attributes),
        principal.authenticated,
    ]
