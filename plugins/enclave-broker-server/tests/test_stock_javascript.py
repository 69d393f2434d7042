"""The stock-like JavaScript client sends what it is made for: JavaScript and TypeScript."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from http_client import Client
from stock_node import MISSING, NODE, Report, stock_client

from enclave_broker_core import Broker, use

pytestmark = pytest.mark.anyio

CODE = """
const ids: number[] = [1, 2, 3];
console.log("ü☃", {n: null});
console.warn("careful");
const users = await parallel(ids.map((id) => () => callTool("users:get", {id})));
try {
  await tools.users.fail({});
} catch (error) {
  console.error(error.code, error.message);
}
return users.map((user) => user.id);
"""

Run = Callable[..., Coroutine[Any, Any, Report]]


@pytest.fixture
def broker() -> Broker:
    broker = Broker(
        runtime={"quickjs": use("quickjs", workers=1), "monty": use("monty", workers=1)}
    )

    @broker.tool("users:get")
    async def get(id: int) -> dict[str, Any]:
        return {"id": id}

    @broker.tool("users:fail")
    async def fail() -> None:
        raise ValueError("no such user")

    return broker


@pytest.fixture
async def url(broker: Broker, serving: Callable[..., Any]) -> AsyncIterator[str]:
    async with broker, serving(broker) as url:
        yield url


@pytest.fixture
def run(tmp_path: Path) -> Run:
    async def start(url: str, code: str, *options: str) -> Report:
        path = tmp_path / "code.ts"
        path.write_text(code)
        report = await stock_client(url, path, *options)
        assert report.dropped == []
        return report

    return start


@pytest.mark.skipif(NODE is None, reason=MISSING)
async def test_its_code_runs_as_it_is(url: str, run: Run) -> None:
    report = await run(url, CODE)
    assert report.outcome == {"success": True, "value": [1, 2, 3]}
    assert report.tool_calls == 4
    said = [event["payload"] for event in report.events if event["type"] in ("stdout", "log")]
    assert said == [
        {"chunk": 'ü☃ {"n":null}\n'},
        {"level": "warn", "message": "careful"},
        {"level": "error", "message": "TOOL_ERROR no such user"},
    ]


@pytest.mark.skipif(NODE is None, reason=MISSING)
async def test_its_config_is_kept(url: str, run: Run) -> None:
    report = await run(url, "while (true);", "--config", '{"maxExecutionMs": 200}')
    assert report.outcome["error"]["code"] == "DEADLINE_EXCEEDED"
    code = "for (;;) await tools.users.get({id: 1})"
    report = await run(url, code, "--config", '{"maxToolCalls": 2}')
    applied = [event for event in report.events if event["type"] == "tool_result_applied"]
    assert [event["payload"].get("code") for event in applied] == [None, None, "MAX_TOOL_CALLS"]


async def test_the_language_is_taken_from_the_request(broker: Broker, opened: Any) -> None:
    async with opened(broker) as http:
        client = Client(http)
        for body, result in [
            ({"code": "return 1 + 1"}, 2),
            ({"code": "return 1 + 1", "runtime": "quickjs"}, 2),
            ({"code": "[x for x in (1, 2)]", "runtime": "monty"}, [1, 2]),
        ]:
            events = await client.events(body)
            assert events[-1]["payload"]["result"] == result
        events = await client.events({"code": "[x for x in (1, 2)]"})
        assert "SyntaxError" in events[-1]["payload"]["error"]["message"]
