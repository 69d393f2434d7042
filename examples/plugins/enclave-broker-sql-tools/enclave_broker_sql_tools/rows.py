"""An answer in JSON form, no larger than it may be."""

from __future__ import annotations

import base64
import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pydantic import JsonValue
from pydantic_core import to_json
from sqlalchemy import Row

# Of what a database has inside one value, such as PostgreSQL's jsonb.
MAX_DEPTH = 50


def json_value(value: Any, depth: int = 0) -> JsonValue:
    """Times in ISO form, bytes in base64, decimals and whatever else as texts."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return f"{value:f}" if value.is_finite() else str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        return {str(key): json_value(one, depth + 1) for key, one in value.items()}
    if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [json_value(one, depth + 1) for one in value]
    return str(value)


def column_names(names: Iterable[str]) -> list[str]:
    """Each name once: the second ``id`` is ``id_2``."""
    taken: list[str] = []
    for name in names:
        free, number = name, 2
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        taken.append(free)
    return taken


def rows_within(
    names: Sequence[str], rows: Iterable[Row[Any]], max_rows: int, max_bytes: int
) -> tuple[list[JsonValue], str]:
    """The first rows, and a word on what is not there; an empty one when all are."""
    kept: list[JsonValue] = []
    size = 2
    for row in rows:
        if len(kept) == max_rows:
            return kept, f"only the first {max_rows} rows: ask for fewer"
        one = {name: json_value(value) for name, value in zip(names, row, strict=True)}
        size += len(to_json(one)) + 1
        if size > max_bytes:
            return kept, f"only the first {len(kept)} rows, as more would be too long: ask for less"
        kept.append(one)
    return kept, ""
