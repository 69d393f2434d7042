"""A small CRM in either database, and the queries on it that the tests ask."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.testing.contexts import RecordingContext
from pydantic_core import to_json

from enclave_broker_sql_tools.config import SqlConfig
from enclave_broker_sql_tools.provider import SqlTools, open_provider

TABLES = """
CREATE TABLE customers (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, since DATE, credit NUMERIC(10, 2)
);
INSERT INTO customers VALUES (1, 'Ada', '1843-09-01', 12.5), (2, 'Grace', NULL, NULL);
"""
ENDLESS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS i FROM n
"""
READING: tuple[dict[str, Any], ...] = (
    {
        "name": "customer",
        "description": "A customer by id.",
        "sql": "SELECT id, name, since FROM customers WHERE id = :id",
        "parameters": {"id": "integer"},
    },
    {
        "name": "some",
        "description": "Customers by their ids.",
        "sql": "SELECT id FROM customers WHERE id IN :ids ORDER BY id",
        "parameters": {"ids": "integer[]"},
    },
    {
        "name": "echo",
        "description": "A text as it came.",
        "sql": "SELECT CAST(:text AS text) AS text",
        "parameters": {"text": {"type": "string", "max_length": 100_000}},
    },
    {"name": "endless", "description": "It has no end.", "sql": ENDLESS, "timeout": 30},
)
WRITING: tuple[dict[str, Any], ...] = (
    {
        "name": "add",
        "description": "A new customer.",
        "sql": "INSERT INTO customers (id, name) VALUES (:id, :name)",
        "parameters": {"id": "integer", "name": "string?"},
        "read_only": False,
        "destructive": False,
    },
    {
        "name": "rename",
        "description": "Another name for everybody.",
        "sql": "UPDATE customers SET credit = 0",
        "read_only": False,
        "idempotent": True,
        "max_rows": 1,
    },
)


def sqlite_crm(folder: Path) -> str:
    """The URL of a new one, relative to the folder."""
    with closing(sqlite3.connect(folder / "crm.db")) as connection:
        connection.executescript(TABLES)
    return "sqlite:///crm.db"


@asynccontextmanager
async def opened(folder: Path, url: str, *queries: Mapping[str, Any]) -> AsyncIterator[SqlTools]:
    config = SqlConfig.model_validate({"url": url, "queries": queries})
    async with open_provider(config, OpenContext("crm", str(folder))) as provider:
        assert isinstance(provider, SqlTools)
        yield provider


async def ask(provider: SqlTools, query: str, **arguments: Any) -> Any:
    """What the tool of a query answers."""
    tools = {tool.spec.name: tool for tool in await provider.tools()}
    tool = tools[f"crm:{query}"]
    checked = tool.validate(to_json(arguments))
    return await tool.invoke(checked, RecordingContext(f"crm:{query}"))
