"""The suite of the contract, on both databases, then what is the provider's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from crm import READING, WRITING, ask, opened, sqlite_crm
from enclave_broker_core.contracts import ToolProvider
from enclave_broker_core.errors import ArgumentsError, ConfigError, ToolError
from enclave_broker_core.testing.providers import Example, ToolProviderSuite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from enclave_broker_sql_tools.provider import BusyDatabaseError, SqlTools

pytestmark = pytest.mark.anyio
ADA: dict[str, JsonValue] = {"id": 1, "name": "Ada", "since": "1843-09-01"}


class TestOnSqlite(ToolProviderSuite):
    examples = (
        Example(
            "crm:customer",
            {"id": 1},
            {"rows": [ADA], "complete": True},
            {"id": "1; DROP TABLE customers"},
            "id",
        ),
        Example(
            "crm:some",
            {"ids": [2, 1]},
            {"rows": [{"id": 1}, {"id": 2}], "complete": True},
            {"ids": [1], "sql": "SELECT everything"},
            "sql",
        ),
    )
    waiting = ("crm:endless", {})
    provider: SqlTools | None = None

    @pytest.fixture(autouse=True)
    def with_database(self, tmp_path: Path) -> None:
        self.folder, self.url = tmp_path, sqlite_crm(tmp_path)

    @asynccontextmanager
    async def open_provider(self) -> AsyncIterator[ToolProvider]:
        async with opened(self.folder, self.url, *READING) as self.provider:
            yield self.provider

    def running(self) -> int:
        assert self.provider is not None
        return self.provider.runner.running


class TestOnPostgresql(TestOnSqlite):
    # The threads that a loop has to do with are the same.
    loops = ("asyncio",)

    @pytest.fixture(autouse=True)
    def with_database(self, tmp_path: Path, postgresql_crm: str) -> None:
        self.folder, self.url = tmp_path, postgresql_crm


NASTY = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    st.sampled_from(
        [
            "'; DROP TABLE customers; --",
            "\\'; DELETE FROM customers; --",
            '" OR ""="',
            "$$; SELECT pg_sleep(1); $$",
            "1); ATTACH DATABASE 'x.db' AS x; --",
            ":id %s %(text)s {text} ? $1 %%",
            "/* */ -- \r\n;;",
            "'\N{FULLWIDTH APOSTROPHE}\N{RIGHT SINGLE QUOTATION MARK}",
            "'x" * 40_000,
        ]
    ),
)


async def test_values_come_back_as_they_were_given(tmp_path: Path, url: str) -> None:
    """Hypothesis makes the values; they are asked for in one event loop."""
    texts: list[str] = []

    @settings(
        max_examples=30,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(NASTY)
    def collect(text: str) -> None:
        texts.append(text)

    collect()
    async with opened(tmp_path, url, *READING) as provider:
        for text in {*texts, "'; DROP TABLE customers; --"}:
            assert (await ask(provider, "echo", text=text))["rows"] == [{"text": text}]
        assert len((await ask(provider, "some", ids=[1, 2]))["rows"]) == 2
        with pytest.raises(ArgumentsError) as refused:
            await ask(provider, "echo", text="a\0b")
        assert [field for field, _ in refused.value.fields] == ["text"]


async def test_an_empty_list_finds_nothing(tmp_path: Path, url: str) -> None:
    async with opened(tmp_path, url, *READING) as provider:
        assert (await ask(provider, "some", ids=[]))["rows"] == []


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT nam FROM customers", "nam"),
        ("SELECT 1; DELETE FROM customers", ""),
        ("DELETE FROM customers", "read_only = false"),
        ("INSERT INTO customers (id, name) VALUES (9, 'x') RETURNING id", "read_only = false"),
        ("DROP TABLE customers", "more than a query"),
        ("SELEC 1", "syntax error"),
    ],
)
async def test_a_wrong_statement_is_told_with_its_place(
    tmp_path: Path, url: str, sql: str, said: str
) -> None:
    wrong = {"name": "wrong", "description": "It is wrong.", "sql": sql}
    with pytest.raises(ConfigError) as caught:
        async with opened(tmp_path, url, *READING, wrong, {**wrong, "name": "also"}):
            raise AssertionError("it opened")
    first, second = caught.value.problems
    assert first.startswith("queries[4].sql: ")
    assert second.startswith("queries[5].sql: ")
    assert said in first
    async with opened(tmp_path, url, *READING) as provider:
        assert (await ask(provider, "customer", id=1))["rows"] == [ADA]


async def test_a_change_is_whole_or_not_there(tmp_path: Path, url: str) -> None:
    async with opened(tmp_path, url, *READING, *WRITING) as provider:
        added = await ask(provider, "add", id=3, name="Barbara")
        assert added == {"rows": [], "complete": True, "changed": 1}
        for wrong, said in (
            ({"id": 3, "name": "Eve"}, "this key is there already"),
            ({"id": 4, "name": "Ada"}, "this key is there already"),
            ({"id": 4}, "a value is missing"),
        ):
            with pytest.raises(ToolError, match=said):
                await ask(provider, "add", **wrong)
        with pytest.raises(ToolError, match=r"more than 1 rows.*nothing was changed"):
            await ask(provider, "rename")
        again = await ask(provider, "customer", id=3)
        assert again["rows"] == [{"id": 3, "name": "Barbara", "since": None}]
        specs = {tool.spec.name: tool.spec for tool in await provider.tools()}
    told = {name: (s.read_only, s.idempotent, s.destructive) for name, s in specs.items()}
    assert told["crm:customer"] == (True, True, False)
    assert told["crm:add"] == (False, False, False)
    assert told["crm:rename"] == (False, True, True)


@pytest.mark.parametrize(
    ("bounds", "note"),
    [
        ({"max_rows": 3}, "only the first 3 rows: ask for fewer"),
        ({"max_bytes": 26}, "only the first 3 rows, as more would be too long: ask for less"),
    ],
)
async def test_what_is_too_long_is_cut_and_says_so(
    tmp_path: Path, url: str, bounds: dict[str, int], note: str
) -> None:
    sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 9"
    many = {"name": "many", "description": "Numbers.", "sql": sql, **bounds}
    async with opened(tmp_path, url, many) as provider:
        answer = await ask(provider, "many")
    rows: list[dict[str, Any]] = [{"i": 1}, {"i": 2}, {"i": 3}]
    assert answer == {"rows": rows, "complete": False, "note": note}


async def test_a_write_that_a_function_hides_is_refused(tmp_path: Path, postgresql: Any) -> None:
    with postgresql.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS hidden (i int)")
        connection.execute(
            "CREATE OR REPLACE FUNCTION hide() RETURNS int LANGUAGE sql"
            " AS 'INSERT INTO hidden VALUES (1) RETURNING i'"
        )
    url = postgresql.url().replace("postgresql:", "postgresql+psycopg:")
    query = {"name": "hide", "description": "It writes.", "sql": "SELECT hide()"}
    async with opened(tmp_path, url, query) as provider:
        with pytest.raises(ToolError, match="finds the reason in the log"):
            await ask(provider, "hide")


async def test_a_server_that_is_away_is_told_without_its_address(
    tmp_path: Path, postgresql_crm: str, postgresql: Any
) -> None:
    async with opened(tmp_path, postgresql_crm, *READING) as provider:
        postgresql.stop()
        try:
            with pytest.raises(BusyDatabaseError) as caught:
                await ask(provider, "customer", id=1)
        finally:
            postgresql.start()
        assert caught.value.message == "the database can't be reached now; try again later"
        assert (await ask(provider, "echo", text="it is back"))["rows"] == [{"text": "it is back"}]
