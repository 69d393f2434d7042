"""Where the server is, and how much of what is kept."""

from __future__ import annotations

from pydantic import BaseModel, Field, SecretStr


class PostgresConfig(BaseModel, extra="forbid", frozen=True):
    """``url`` is a PostgreSQL URL, or ``key=value`` words, as libpq takes them.

    ``password`` takes the place of one in the URL. All tables are in ``schema``, which one broker
    has at a time. ``timeout`` is how many seconds an operation may take, and opening a connection.
    ``max_events``, ``max_calls`` and ``max_claims`` are of each session; over a bound the oldest
    leave. ``grace`` is how many seconds an ended session can still be read, ``max_ended`` how
    many of them are kept at most.
    """

    url: SecretStr
    password: SecretStr | None = None
    # It is put into SQL and into the options of a connection, so it needs no quotes in either.
    schema_: str = Field(
        default="enclave_broker", alias="schema", pattern=r"\A[a-z_][a-z0-9_]{0,62}\z"
    )
    connections: int = Field(default=8, ge=1, le=1_000)
    timeout: float = Field(default=5.0, ge=0.1, le=3_600)
    max_events: int = Field(default=10_000, ge=1)
    max_calls: int = Field(default=1_000, ge=1)
    max_claims: int = Field(default=1_000, ge=1)
    grace: float = Field(default=60.0, ge=0)
    max_ended: int = Field(default=10_000, ge=1)
