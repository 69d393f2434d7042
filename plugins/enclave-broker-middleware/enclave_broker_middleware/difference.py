"""Where two JSON values differ."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

MOST_NAMED = 200


def difference(one: JsonValue, other: JsonValue) -> str | None:
    """A JSON pointer to the first place where they differ, "" for the whole; None for equal.

    1 and 1.0 are the same number; true is none. The pointer names members and no values.
    """
    found = _first(one, other)
    if found is None:
        return None
    names = [name.replace("~", "~0").replace("/", "~1") for name in found]
    return "".join(f"/{name}" for name in names)[:MOST_NAMED]


def _first(one: Any, other: Any) -> list[str] | None:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            if name not in one or name not in other:
                return [name]
            found = _first(one[name], other[name])
            if found is not None:
                return [name, *found]
        return None
    if isinstance(one, list) and isinstance(other, list):
        for at, (item, counterpart) in enumerate(zip(one, other, strict=False)):
            found = _first(item, counterpart)
            if found is not None:
                return [str(at), *found]
        return None if len(one) == len(other) else [str(min(len(one), len(other)))]
    same = one == other and isinstance(one, bool) is isinstance(other, bool)
    return None if same else []
