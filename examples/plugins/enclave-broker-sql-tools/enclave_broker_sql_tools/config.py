"""What a configuration may say of the provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from .parameters import Parameter

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
DRIVERS = ("sqlite", "postgresql+psycopg")


def names_in(sql: str) -> frozenset[str]:
    """Each ``:name`` of a statement, as SQLAlchemy finds them; ``::`` and ``\\:`` begin none."""
    return frozenset(text(sql).compile().params)


class Query(BaseModel, extra="forbid", frozen=True):
    """One statement that becomes the tool ``SOURCE:name``.

    ``max_rows`` and ``max_bytes`` bound the answer. What a query that is not ``read_only``
    changes or gives back never exceeds ``max_rows``: it would rather change nothing.
    ``timeout`` is in seconds.
    """

    name: Name
    description: str = Field(min_length=1)
    sql: str = Field(min_length=1, max_length=100_000)
    parameters: Mapping[Name, Parameter] = Field(default={}, max_length=100)
    read_only: bool = True
    destructive: bool = True
    idempotent: bool = False
    max_rows: int = Field(default=100, ge=1, le=100_000)
    max_bytes: int = Field(default=256 * 1024, ge=1)
    timeout: float = Field(default=10, gt=0, le=3600)

    @model_validator(mode="after")
    def _all_are_declared(self) -> Self:
        used = names_in(self.sql)
        for name in sorted(used - set(self.parameters)):
            raise ValueError(
                f"sql has :{name}, which is not in parameters"
                " (a colon that begins no parameter is written \\:)"
            )
        for name in sorted(set(self.parameters) - used):
            raise ValueError(f"parameters has {name}, and sql has no :{name}")
        for about in sorted({"destructive", "idempotent"} & self.model_fields_set):
            if self.read_only:
                raise ValueError(f"{about} is for what is not read_only")
        return self


def each_once(queries: tuple[Query, ...]) -> tuple[Query, ...]:
    names = [query.name for query in queries]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"there are two queries named {name}")
    return queries


class QueryFile(BaseModel, extra="forbid", frozen=True):
    """What stands in a ``file`` of queries: ``[[queries]]``."""

    queries: Annotated[tuple[Query, ...], Field(min_length=1, max_length=1000)]

    _names = field_validator("queries")(each_once)


class SqlConfig(BaseModel, extra="forbid", frozen=True):
    """``url`` says which database, ``sqlite:///…`` or ``postgresql+psycopg://…``.

    ``password`` may stand by itself: in the URL it would have to be percent-encoded. ``file``
    is a TOML file of more queries, relative to the configuration like the path of SQLite.
    ``connect_timeout`` is in seconds.
    """

    url: SecretStr
    password: SecretStr | None = None
    queries: Annotated[tuple[Query, ...], Field(max_length=1000)] = ()
    file: str | None = None
    max_connections: int = Field(default=5, ge=1, le=100)
    connect_timeout: int = Field(default=2, ge=1, le=60)

    _names = field_validator("queries")(each_once)

    @field_validator("url")
    @classmethod
    def _is_known(cls, url: SecretStr) -> SecretStr:
        try:
            parsed = make_url(url.get_secret_value())
        except (ArgumentError, ValueError):
            # Without its message, which may hold a password.
            raise ValueError("it is no URL of a database") from None
        if parsed.drivername not in DRIVERS:
            raise ValueError(f"it has to begin with {' or '.join(f'{one}://' for one in DRIVERS)}")
        if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
            raise ValueError("a database in memory is empty: name a file")
        if parsed.drivername == "sqlite" and (parsed.query or parsed.host):
            raise ValueError("of SQLite it is a path and nothing else: sqlite:///crm.db")
        return url

    @model_validator(mode="after")
    def _has_queries(self) -> Self:
        if not self.queries and self.file is None:
            raise ValueError("it needs queries, or a file of them")
        return self
