"""The provider in a real broker: allowed, denied, cut, too late, cancelled; and what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from crm import READING, sqlite_crm
from enclave_broker_core.errors import ConfigError
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.harness import open_harness

import enclave_broker_sql_tools

pytestmark = pytest.mark.anyio
ADA = Principal(id="ada", roles=frozenset({"sales"}))


def config(url: str, *queries: dict[str, Any]) -> dict[str, Any]:
    rules = [{"pattern": "crm:customer", "allow": False, "unless": {"role": "sales"}}]
    return {
        "plugins": ["memory"],
        "access": {"default": "allow", "rules": rules},
        "tools": [{"use": "sql", "name": "crm", "url": url, "queries": list(queries)}],
    }


async def test_some_may_and_others_may_not(tmp_path: Path, url: str) -> None:
    table = config(url, *READING)
    async with open_harness(table, enclave_broker_sql_tools, folder=tmp_path) as harness:
        asked = await harness.call("crm:customer", {"id": 2}, principal=ADA)
        denied = await harness.call("crm:customer", {"id": 2}, principal=Principal(id="eve"))
        wrong = await harness.call("crm:customer", {"id": "2 OR 1=1"}, principal=ADA)
    rows = [{"id": 2, "name": "Grace", "since": None}]
    assert asked.unwrap() == {"rows": rows, "complete": True}
    assert (denied.code, wrong.code) == ("ACCESS_DENIED", "VALIDATION_ERROR")


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_query_ends_with_its_deadline(tmp_path: Path, url: str) -> None:
    endless = {**READING[-1], "timeout": 0.1}
    table = config(url, READING[0], endless)
    async with open_harness(table, enclave_broker_sql_tools, folder=tmp_path) as harness:
        late = await harness.call("crm:endless")
        # The thread is back, so the statement has ended: nothing else makes it come back.
        assert harness.part("tools[0]").runner.running == 0
        after = await harness.call("crm:customer", {"id": 1}, principal=ADA)
    assert late.code == "TOOL_TIMEOUT"
    assert after.unwrap()["rows"][0]["name"] == "Ada"


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_query_ends_with_its_session(tmp_path: Path, url: str) -> None:
    table = config(url, READING[-1])
    async with open_harness(table, enclave_broker_sql_tools, folder=tmp_path) as harness:
        runner = harness.part("tools[0]").runner
        session = await harness.broker.create_session()
        codes: list[str] = []

        async def call() -> None:
            codes.append((await harness.call("crm:endless", session=session)).code)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            while not runner.running:
                await anyio.lowlevel.checkpoint()
            await session.cancel("enough")
        assert runner.running == 0
    assert codes == ["SESSION_CANCELLED"]


async def test_an_agent_sees_neither_the_statement_nor_the_reason(tmp_path: Path) -> None:
    url = sqlite_crm(tmp_path)
    broken = {
        "name": "broken",
        "description": "It fails when it runs.",
        "sql": "SELECT abs(-9223372036854775807 - :one) FROM customers",
        "parameters": {"one": "integer"},
    }
    table = config(url, broken)
    async with open_harness(table, enclave_broker_sql_tools, folder=tmp_path) as harness:
        failed = await harness.call("crm:broken", {"one": 1})
        told = harness.logged(logger="enclave_broker_sql_tools")
    assert failed.error is not None
    assert failed.error.message == (
        "the query failed; whoever operates this tool finds the reason in the log"
    )
    assert told == ["crm:broken failed: SQLITE_ERROR: integer overflow"]


async def test_a_mistake_is_told_at_its_place(tmp_path: Path) -> None:
    url = sqlite_crm(tmp_path)
    query = {"name": "q", "description": "It is wrong.", "sql": "SELECT :id"}
    for more, said in (
        ({}, "tools[0].queries[0]: sql has :id, which is not in parameters"),
        ({"parameters": {"id": "integer", "no": "string"}}, "sql has no :no"),
        ({"parameters": {"id": "intger"}}, "tools[0].queries[0].parameters.id: Input should be"),
        ({"parameters": {"id": "integer"}, "sql": "SELECT :id FRM x"}, "queries[0].sql: near"),
    ):
        table = config(url, {**query, **more})
        with pytest.raises(ConfigError) as caught:
            async with open_harness(table, enclave_broker_sql_tools, folder=tmp_path):
                raise AssertionError("it opened")
        assert said in str(caught.value)


async def test_a_password_is_in_no_message(tmp_path: Path) -> None:
    url = "postgresql+psycopg://ada:swordfish-1a2b@127.0.0.1:1/crm"
    with pytest.raises(Exception, match="can't be asked") as caught:
        async with open_harness(config(url, READING[0]), enclave_broker_sql_tools):
            raise AssertionError("it opened")
    assert "swordfish" not in str(caught.value)
