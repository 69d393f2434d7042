"""PostgreSQL, by psycopg."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import Error, OperationalError
from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Date,
    DateTime,
    Double,
    Engine,
    Numeric,
    Text,
    Uuid,
    create_engine,
)
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import TypeEngine

from .databases import (
    BROKEN_RULES,
    CONTENDED,
    FAILED,
    UNFIT,
    UNREACHABLE,
    Failure,
    WrongStatement,
)
from .statements import Statement

NAME = "enclave_check"
RULES: Mapping[str, str] = {
    "23505": "unique",
    "23503": "foreign",
    "23001": "foreign",
    "23502": "missing",
    "23514": "check",
}
LOCKED = frozenset({"40001", "40P01", "55P03"})
STOPPED = "57014"
# The broker's deadline comes first. This is for a connection that is gone without a word.
GRACE = 1.0


class Postgresql:
    """A server, with a pool of connections to it."""

    def __init__(self, url: URL, *, connections: int, connect_timeout: int) -> None:
        self.engine: Engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"connect_timeout": connect_timeout},
        )
        self.types: Mapping[str, TypeEngine[Any]] = {
            "string": Text(),
            "integer": BigInteger(),
            "number": Double(),
            "decimal": Numeric(),
            "boolean": Boolean(),
            "date": Date(),
            "datetime": DateTime(timezone=True),
            "uuid": Uuid(),
        }

    def value(self, given: Any) -> Any:
        return list(given) if isinstance(given, tuple) else given

    def begin(self, connection: Connection, *, read_only: bool, seconds: float) -> None:
        connection.execution_options(postgresql_readonly=read_only)
        most = round((seconds + GRACE) * 1000)
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {most}")

    def check(self, connection: Connection, statement: Statement) -> None:
        # In the protocol's own form of a prepared statement there is only one, and none runs.
        dialect: Any = PGDialect_psycopg
        compiled = statement.clause.bindparams(**statement.trial).compile(
            dialect=dialect(paramstyle="numeric_dollar"),
            compile_kwargs={"render_postcompile": True},
        )
        raw: Any = connection.connection.driver_connection
        prepared = raw.pgconn.prepare(NAME.encode(), compiled.string.encode())
        if said := prepared.error_message:
            raise WrongStatement(said.decode(errors="replace").partition("\n")[0])
        try:
            count = raw.pgconn.describe_prepared(NAME.encode()).nparams
            given = f"({', '.join(['NULL'] * count)})" if count else ""
            (plan,) = raw.execute(f"EXPLAIN (FORMAT JSON) EXECUTE {NAME}{given}").fetchone()
            kinds = set(_kinds(plan))
        except Error as problem:
            raise WrongStatement(str(problem).partition("\n")[0]) from None
        finally:
            raw.rollback()
            raw.execute(f"DEALLOCATE {NAME}")
        if not kinds:
            raise WrongStatement("it is more than a query or a change of rows")
        if statement.query.read_only and kinds & {"ModifyTable", "LockRows"}:
            raise WrongStatement("it changes or locks rows: say read_only = false")

    def interrupt(self, raw: Any) -> None:
        raw.cancel_safe(timeout=1)

    def waits(self, problem: Exception) -> bool:
        return False

    def failure(self, problem: Exception) -> Failure:
        state = getattr(problem, "sqlstate", None)
        primary = getattr(getattr(problem, "diag", None), "message_primary", None)
        reason = f"{state or type(problem).__name__}: {primary or problem}"
        if state == STOPPED:
            return Failure("the query took too long", reason, again=True, late=True)
        if state in LOCKED:
            return Failure(CONTENDED, reason, again=True)
        if rule := RULES.get(str(state)):
            return Failure(BROKEN_RULES[rule], reason)
        lost = state is None and isinstance(problem, OperationalError)
        if lost or str(state)[:2] in ("08", "53", "57"):
            return Failure(UNREACHABLE, reason, again=True)
        return Failure(UNFIT if str(state)[:2] == "22" else FAILED, reason)


def _kinds(plan: Any) -> Iterator[str]:
    """The kinds of a plan's nodes, such as ``Seq Scan``; a statement without a plan has none."""
    if isinstance(plan, Mapping):
        if "Node Type" in plan:
            yield plan["Node Type"]
        plan = list(plan.values())
    if isinstance(plan, list):
        for part in plan:
            yield from _kinds(part)
