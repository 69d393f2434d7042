"""What agents may give, what the database gets of it, and what a declaration may not say."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from crm import WRITING, ask, opened, sqlite_crm
from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import ArgumentsError, ConfigError
from pydantic import ValidationError

from enclave_broker_sql_tools.config import SqlConfig
from enclave_broker_sql_tools.parameters import Declared
from enclave_broker_sql_tools.provider import BusyDatabaseError, open_provider

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("kind", "value", "answers"),
    [
        ("integer", 2**63 - 1, {2**63 - 1}),
        ("number", 0.1, {0.1}),
        ("decimal", "12345678901234567890.10", {"12345678901234567890.10"}),
        ("boolean", True, {True}),
        ("date", "2026-11-24", {"2026-11-24"}),
        (
            "datetime",
            "2026-11-24T12:00:00+02:00",
            {"2026-11-24 10:00:00", "2026-11-24T10:00:00+00:00"},
        ),
        ("uuid", "12345678-1234-5678-1234-567812345678", {"12345678-1234-5678-1234-567812345678"}),
    ],
)
async def test_each_type_arrives_as_it_is(
    tmp_path: Path, url: str, kind: str, value: Any, answers: set[Any]
) -> None:
    zone = f"{url}{'&' if '?' in url else '?'}options=-ctimezone%3DUTC"
    query = {
        "name": "echo",
        "description": "A value.",
        "sql": "SELECT :v AS v",
        "parameters": {"v": f"{kind}?"},
    }
    place = url if url.startswith("sqlite") else zone
    async with opened(tmp_path, place, query) as provider:
        (row,) = (await ask(provider, "echo", v=value))["rows"]
        assert row["v"] in answers
        assert (await ask(provider, "echo"))["rows"] == [{"v": None}]
        with pytest.raises(ArgumentsError):
            await ask(provider, "echo", v=[value])


async def test_a_default_stands_for_what_is_left_out(tmp_path: Path) -> None:
    color = {"type": "string", "enum": ["red", "blue"], "default": "blue"}
    query = {
        "name": "q",
        "description": "A color.",
        "sql": "SELECT :color AS color",
        "parameters": {"color": color},
    }
    async with opened(tmp_path, sqlite_crm(tmp_path), query) as provider:
        assert (await ask(provider, "q"))["rows"] == [{"color": "blue"}]
        assert (await ask(provider, "q", color="red"))["rows"] == [{"color": "red"}]
        for wrong in ("green", None):
            with pytest.raises(ArgumentsError):
                await ask(provider, "q", color=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "integer", "default": "7"},
        {"type": "string", "minimum": 1},
        {"type": "integer", "enum": ["a"]},
        {"type": "date", "enum": ["2026-11-24"]},
        {"type": "integer", "list": True, "nullable": True},
    ],
)
def test_a_declaration_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Declared.model_validate(wrong)


async def test_queries_may_stand_in_a_file(tmp_path: Path) -> None:
    url = sqlite_crm(tmp_path)
    file = tmp_path / "queries.toml"
    context = OpenContext("crm", str(tmp_path))
    config = SqlConfig.model_validate({"url": url, "file": "queries.toml"})
    query = "[[queries]]\nname = 'q'\ndescription = 'One.'\nsql = '{}'\n"
    file.write_text(query.format("SELECT 1"))
    async with open_provider(config, context) as provider:
        assert [tool.spec.name for tool in await provider.tools()] == ["crm:q"]
    for sql, said in (("SELEC 1", "queries.toml: queries[0].sql: "), ("SELECT :x", "has :x")):
        file.write_text(query.format(sql))
        with pytest.raises(ConfigError) as caught:
            async with open_provider(config, context):
                raise AssertionError("it opened")
        assert said in caught.value.message


async def test_rows_that_somebody_else_changes_are_another_try_worth(tmp_path: Path) -> None:
    url = sqlite_crm(tmp_path)
    add = {**WRITING[0], "timeout": 0.1}
    with closing(sqlite3.connect(tmp_path / "crm.db", isolation_level=None)) as other:
        async with opened(tmp_path, url, add) as provider:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(BusyDatabaseError, match="nothing was changed, try again"):
                await ask(provider, "add", id=9, name="x")
            other.execute("ROLLBACK")
            assert (await ask(provider, "add", id=9, name="x"))["changed"] == 1
