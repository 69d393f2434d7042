"""From a configuration to statements that the database has seen."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from enclave_broker_core.errors import ConfigError, PluginError
from pydantic import ValidationError
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError

from .config import Query, QueryFile, SqlConfig
from .databases import Database, WrongStatement
from .running import Runner
from .statements import Statement, statement_of

# Seconds in which the database has to have looked at all statements.
CHECKING = 10.0
MAX_FILE = 10 * 1024 * 1024


class Placed(NamedTuple):
    """A query, and where it stands."""

    place: str
    query: Query


def queries_of(config: SqlConfig, folder: Path) -> list[Placed]:
    """The queries of the table and of its file; ConfigError for a file that is wrong."""
    found = [Placed(f"queries[{number}]", one) for number, one in enumerate(config.queries)]
    if config.file is not None:
        found += _queries_in(folder / config.file)
    names = [one.query.name for one in found]
    for one in found:
        if names.count(one.query.name) > 1:
            raise ConfigError(f"there are two queries named {one.query.name}")
    return found


def _queries_in(path: Path) -> list[Placed]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1)
        if len(text) > MAX_FILE:
            raise ConfigError(f"file: {path} has more than {MAX_FILE} bytes")
        read = QueryFile.model_validate(tomllib.loads(text.decode()))
    except ValidationError as problem:
        raise _all_of(
            [
                f"{path.name}: {_place(one['loc'])}: {one['msg'].removeprefix('Value error, ')}"
                for one in problem.errors(include_url=False, include_input=False)
            ]
        ) from None
    except (OSError, ValueError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise ConfigError(f"file: {path} can't be read: {why}") from None
    return [Placed(f"{path.name}: queries[{at}]", one) for at, one in enumerate(read.queries)]


def _place(steps: Sequence[int | str]) -> str:
    written = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in steps)
    return written.removeprefix(".")


def _all_of(problems: Sequence[str]) -> ConfigError:
    return ConfigError("; ".join(problems), problems=problems)


def database_of(config: SqlConfig, folder: Path, *, read_only: bool) -> Database:
    url = make_url(config.url.get_secret_value())
    if url.drivername == "sqlite":
        from .sqlite import Sqlite

        path = folder / (url.database or "")
        return Sqlite(path, read_only=read_only, connections=config.max_connections)
    if config.password is not None:
        url = url.set(password=config.password.get_secret_value())
    try:
        from .postgresql import Postgresql

        return Postgresql(
            url, connections=config.max_connections, connect_timeout=config.connect_timeout
        )
    except (ImportError, NoSuchModuleError):
        raise ConfigError(
            "PostgreSQL needs psycopg: install enclave-broker-sql-tools[postgresql]"
        ) from None


async def checked_statements(queries: Sequence[Placed], runner: Runner) -> list[Statement]:
    """Statements that the database takes. ConfigError has each that it does not, with its place;
    PluginError when the database can't be asked."""
    statements = [statement_of(one.query, runner.database) for one in queries]
    problems: list[str] = []

    for one, statement in zip(queries, statements, strict=True):

        def check(connection: Connection, statement: Statement = statement) -> None:
            runner.database.check(connection, statement)
            connection.rollback()

        try:
            await runner.run(check, read_only=True, seconds=CHECKING)
        except WrongStatement as problem:
            problems.append(f"{one.place}.sql: {problem}")
        except DBAPIError as problem:
            origin = problem.orig if isinstance(problem.orig, Exception) else problem
            reason = runner.database.failure(origin).reason
            raise PluginError(f"the database can't be asked: {reason}") from None
    if problems:
        raise _all_of(problems)
    return statements
