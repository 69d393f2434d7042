"""A query's statement, with parameters that stay parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import TextClause, bindparam, text

from .config import Query
from .databases import Database


@dataclass(frozen=True)
class Statement:
    """What is sent for a query. ``trial`` has a value for each parameter, and means nothing."""

    query: Query
    clause: TextClause
    trial: Mapping[str, Any]

    def values(self, database: Database, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the database takes them."""
        return {name: database.value(given) for name, given in arguments.items()}


def statement_of(query: Query, database: Database) -> Statement:
    clause = text(query.sql).bindparams(
        *(
            bindparam(name, type_=database.types.get(declared.type), expanding=declared.list)
            for name, declared in query.parameters.items()
        )
    )
    trial = {name: [None] if one.list else None for name, one in query.parameters.items()}
    return Statement(query, clause, trial)
