"""Tools that are queries: agents give values for parameters, and never SQL."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
from anyio import to_thread
from enclave_broker_core.contracts import OpenContext, Publish, Tool, ToolContext, ToolProvider
from enclave_broker_core.errors import ArgumentsError, ToolError, ToolTimeoutError
from enclave_broker_core.models import ToolSpec
from pydantic import BaseModel, JsonValue, ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from .config import Query, SqlConfig
from .databases import FAILED
from .opening import checked_statements, database_of, queries_of
from .parameters import arguments_model
from .rows import column_names, rows_within
from .running import Runner
from .statements import Statement

log = logging.getLogger(__name__)

ANSWER: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "rows": {"type": "array", "items": {"type": "object"}},
        "complete": {"type": "boolean"},
        "note": {"type": "string"},
        "changed": {"type": "integer"},
    },
    "required": ["rows", "complete"],
}
# Rows that are read from a server at once.
AT_ONCE = 64


class BusyDatabaseError(ToolError):
    """The database can't do it now; ``retry_after`` says when to try again."""

    retryable = True


class QueryTool:
    """One query. Its answer is ``{"rows": […], "complete": true}``, with a note when cut."""

    def __init__(self, statement: Statement, runner: Runner, source: str) -> None:
        query = statement.query
        self._statement = statement
        self._runner = runner
        self._model = arguments_model(query.parameters)
        self.spec = ToolSpec(
            name=f"{source}:{query.name}",
            description=query.description,
            input_schema=self._model.model_json_schema(),
            output_schema=dict(ANSWER),
            read_only=query.read_only,
            idempotent=query.read_only or query.idempotent,
            destructive=query.destructive and not query.read_only,
            timeout=query.timeout,
            source=source,
        )

    def validate(self, arguments_json: bytes) -> BaseModel:
        try:
            return self._model.model_validate_json(arguments_json)
        except ValidationError as problem:
            found = problem.errors(include_url=False, include_input=False)
            fields = [(".".join(map(str, one["loc"])), one["msg"]) for one in found]
            named = "; ".join(f"{field}: {why}" for field, why in fields[:10])
            message = f"the arguments of {self.spec.name} are wrong: {named}"
            raise ArgumentsError(message, fields=fields) from None

    def dump(self, arguments: BaseModel) -> Mapping[str, JsonValue]:
        return arguments.model_dump(mode="json", by_alias=True)

    async def invoke(self, arguments: BaseModel, context: ToolContext) -> JsonValue:
        query, database = self._statement.query, self._runner.database
        values = self._statement.values(database, arguments.model_dump(by_alias=True))
        try:
            return await self._runner.run(
                lambda connection: answer_of(connection, self._statement, values),
                read_only=query.read_only,
                seconds=query.timeout,
            )
        except ToolError:
            raise
        except Exception as problem:
            # No cause goes with it: it would hold the statement.
            raise self._told(problem) from None

    def _told(self, problem: Exception) -> ToolError | ToolTimeoutError:
        """What the agent hears; whoever operates the broker finds the reason in the log."""
        origin = problem.orig if isinstance(problem, DBAPIError) else None
        if not isinstance(origin, Exception):
            log.error("%s failed: %s", self.spec.name, type(problem).__name__)
            return ToolError(FAILED)
        failure = self._runner.database.failure(origin)
        log.warning("%s failed: %s", self.spec.name, failure.reason)
        if failure.late:
            return ToolTimeoutError(failure.said)
        if failure.again:
            return BusyDatabaseError(failure.said, retry_after=1)
        return ToolError(failure.said)


def answer_of(connection: Connection, statement: Statement, values: Mapping[str, Any]) -> JsonValue:
    """Run a statement. ToolError, and with it no commit, for a change that is too large."""
    query = statement.query
    # A server's cursor is for what only reads.
    options = {"stream_results": query.read_only, "max_row_buffer": AT_ONCE}
    with connection.execute(statement.clause, dict(values), execution_options=options) as result:
        if not result.returns_rows:
            changed = max(0, result.rowcount)
            _within(query, changed > query.max_rows)
            return {"rows": [], "complete": True, "changed": changed}
        names = column_names(result.keys())
        rows, note = rows_within(names, result, query.max_rows, query.max_bytes)
    _within(query, bool(note) and not query.read_only)
    if note:
        return {"rows": rows, "complete": False, "note": note}
    return {"rows": rows, "complete": True}


def _within(query: Query, too_much: bool) -> None:
    if too_much:
        raise ToolError(
            f"it would change more than {query.max_rows} rows, or answer at more length than it"
            " may: nothing was changed"
        )


class SqlTools:
    """A ToolProvider whose tools are ``SOURCE:query``; they stay as the configuration has them."""

    def __init__(self, statements: Sequence[Statement], runner: Runner, source: str) -> None:
        self.runner = runner
        self._tools = tuple(QueryTool(one, runner, source) for one in statements)

    async def tools(self) -> Sequence[Tool]:
        return cast(Sequence[Tool], self._tools)

    async def watch(self, publish: Publish) -> None:
        """The rows change, and the tools stay the same."""


@asynccontextmanager
async def open_provider(config: SqlConfig, context: OpenContext) -> AsyncIterator[ToolProvider]:
    folder = Path(context.base_dir)
    queries = await to_thread.run_sync(queries_of, config, folder)
    database = database_of(config, folder, read_only=all(one.query.read_only for one in queries))
    runner = Runner(database, config.max_connections)
    try:
        statements = await checked_statements(queries, runner)
        yield SqlTools(statements, runner, context.name)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(database.engine.dispose)
