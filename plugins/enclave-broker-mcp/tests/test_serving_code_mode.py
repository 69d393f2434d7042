"""Code mode: three tools for a catalog that is too large to be shown."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from enclave_broker_mcp.serving.printed import Printed
from enclave_broker_mcp.serving.searching import Index, words
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError
from mcp_served import BOTH_ERAS, add_tools, direct, texts

from enclave_broker_core import AccessController, Broker, RateLimiter, SessionLimits, use
from enclave_broker_core.models import ToolSpec


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


anyio_tests = pytest.mark.anyio


def code_broker(runtime: str = "monty", **options: Any) -> Broker:
    return Broker(runtime=use(runtime, workers=1), **options)


@anyio_tests
@pytest.mark.parametrize("era", BOTH_ERAS)
async def test_three_tools_are_all_that_a_client_sees(era: str) -> None:
    broker = code_broker()
    add_tools(broker)
    async with broker, direct(broker, era, mode="code") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["search_tools", "describe_tools", "run_code"]
        assert broker.stats().open_sessions == 0
        assert tools["search_tools"].annotations.read_only_hint is True
        assert "python" in tools["run_code"].description
        assert tools["run_code"].input_schema["properties"]["code"]["description"] == "The code."
        with pytest.raises(MCPError, match="Unknown tool: say"):
            await client.call_tool("say", {})


@anyio_tests
async def test_the_catalog_is_searched_described_and_called_from_code() -> None:
    broker = code_broker()
    seen = add_tools(broker)
    async with broker, direct(broker, mode="code") as client:
        hits = await client.call_tool("search_tools", {"query": "look up a user"})
        assert hits.structured_content["tools"][0] == {
            "name": "users:get",
            "description": "Look a user up.",
        }
        described = await client.call_tool("describe_tools", {"names": ["users:get", "users_drop"]})
        get, drop = described.structured_content["tools"]
        assert get["inputSchema"]["required"] == ["id"]
        assert (get["name"], drop["name"]) == ("users:get", "users:drop")
        assert described.structured_content["unknown"] == []
        code = "user = await call_tool('users:get', {'id': 3})\nprint('got it')\nuser"
        ran = await client.call_tool("run_code", {"code": code}, progress_callback=seen.note)
        kept = await client.call_tool("run_code", {"code": "user['id'] + 1"})
    assert not ran.is_error
    assert ran.structured_content["result"] == {"id": 3, "name": None}
    assert ran.structured_content["stdout"] == "got it\n"
    assert ran.structured_content["toolCalls"] == 1
    assert seen.progress == [(1.0, None, "calling users:get")]
    assert kept.structured_content["result"] == 4


@anyio_tests
async def test_code_in_another_language_says_how_tools_are_called() -> None:
    broker = Broker(runtime={"py": use("monty", workers=1), "js": use("quickjs", workers=1)})
    add_tools(broker)
    async with broker, direct(broker, mode="code", runtime="js") as client:
        [*_, run] = (await client.list_tools()).tools
        assert "await callTool(" in run.description
        code = "console.warn('oh'); return (await callTool('users:get', {id: 5})).id"
        ran = await client.call_tool("run_code", {"code": code})
    assert ran.structured_content["result"] == 5
    assert ran.structured_content["logs"] == [{"level": "warn", "message": "oh"}]


@anyio_tests
async def test_what_code_does_wrong_is_a_tool_error_with_what_it_printed() -> None:
    broker = code_broker()
    add_tools(broker)
    async with broker, direct(broker, mode="code") as client:
        ran = await client.call_tool("run_code", {"code": "print('so far')\n1 / 0"})
    assert ran.is_error
    assert ran.structured_content["code"] == "RUNTIME_ERROR"
    assert "ZeroDivisionError" in ran.structured_content["message"]
    assert ran.structured_content["stdout"] == "so far\n"
    assert "so far" in texts(ran)[1]


@anyio_tests
async def test_calls_of_code_pass_the_same_rules_as_others() -> None:
    rules: list[Any] = [{"pattern": "users:*", "allow": False}]
    broker = code_broker(
        access=AccessController(default="allow", rules=rules),
        limiter=RateLimiter(per_principal={"max_calls": 2, "window": 600}),
    )
    add_tools(broker)
    async with broker, direct(broker, mode="code") as client:
        hits = await client.call_tool("search_tools", {"query": "user"})
        described = await client.call_tool("describe_tools", {"names": ["users:get"]})
        denied = await client.call_tool(
            "run_code", {"code": "await call_tool('users:get', {'id': 1})"}
        )
        many = await client.call_tool(
            "run_code", {"code": "for i in range(3):\n    await call_tool('say', {'text': 'x'})"}
        )
        [record] = await broker.list_sessions()
        history = await (await broker.get_session(record.id)).history()
    assert hits.structured_content == {"tools": [], "total": 0}
    assert described.structured_content == {"tools": [], "unknown": ["users:get"]}
    assert "ACCESS_DENIED" in denied.structured_content["message"]
    assert "RATE_LIMITED" in many.structured_content["message"]
    assert [(call.tool, call.error_code) for call in history] == [
        ("users:get", "ACCESS_DENIED"),
        ("say", None),
        ("say", None),
        ("say", "RATE_LIMITED"),
    ]


@anyio_tests
async def test_what_is_printed_is_bounded_and_the_end_is_shown() -> None:
    broker = code_broker(limits=SessionLimits(max_output_bytes=5000))
    async with broker, direct(broker, mode="code", max_output_chars=100) as client:
        long = await client.call_tool("run_code", {"code": "print('x' * 1000 + 'end')"})
        endless = await client.call_tool("run_code", {"code": "while True: print('x' * 1000)"})
        code = await client.call_tool("run_code", {"code": "#" * 300_000})
    assert len(long.structured_content["stdout"]) == 100
    assert long.structured_content["stdout"].endswith("xend\n")
    assert long.structured_content["droppedChars"] == 904
    assert endless.structured_content["code"] == "RESULT_TOO_LARGE"
    assert code.is_error


@anyio_tests
async def test_a_run_that_is_cancelled_has_stopped() -> None:
    broker = code_broker()
    seen = add_tools(broker)
    async with broker, direct(broker, mode="code") as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "run_code", {"code": "await call_tool('wait')"})
            await seen.began.wait()
            busy = await client.call_tool("run_code", {"code": "1"})
            tasks.cancel_scope.cancel()
        await seen.stopped.wait()
    assert busy.structured_content["code"] == "RUNTIME_BUSY"
    assert busy.structured_content["retryable"] is True


@anyio_tests
@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("search_tools", {"query": 1}, "query"),
        ("search_tools", {"limit": 101}, "limit"),
        ("search_tools", {"query": "x" * 1001}, "query"),
        ("describe_tools", {}, "names"),
        ("describe_tools", {"names": ["x"] * 21}, "names"),
        ("run_code", {"code": ""}, "code"),
        ("run_code", {"code": "1", "more": 1}, "more"),
    ],
)
async def test_wrong_arguments_are_told_as_those_of_any_tool(
    name: str, arguments: dict[str, Any], field: str
) -> None:
    broker = Broker()
    async with broker, direct(broker, mode="code") as client:
        refused = await client.call_tool(name, arguments)
    assert refused.structured_content["code"] == "VALIDATION_ERROR"
    assert [detail["field"] for detail in refused.structured_content["details"]] == [field]


@anyio_tests
async def test_without_a_runtime_there_is_an_error_that_says_so() -> None:
    broker = Broker()
    async with broker, direct(broker, mode="code") as client:
        await client.list_tools()
        refused = await client.call_tool("run_code", {"code": "1"})
    assert refused.is_error
    assert "runtime" in refused.structured_content["message"]


@anyio_tests
async def test_both_has_all_of_it() -> None:
    broker = code_broker()
    add_tools(broker)
    broker.tool("run_code")(_hidden)
    async with broker, direct(broker, mode="both") as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        said = await client.call_tool("say", {"text": "a"})
        ran = await client.call_tool("run_code", {"code": "1 + 1"})
    assert names[:4] == ["search_tools", "describe_tools", "run_code", "users_get"]
    assert names.count("run_code") == 1
    assert texts(said) == ["a"]
    assert ran.structured_content["result"] == 2


# Searching


def by_name(*tools: ToolSpec) -> dict[str, ToolSpec]:
    return {tool.name: tool for tool in tools}


def test_tools_are_found_by_words_of_their_names_and_what_they_do() -> None:
    index = Index()
    tools = by_name(
        ToolSpec(name="mail:send", description="Send a message to somebody."),
        ToolSpec(name="users:list", description="List everybody."),
        ToolSpec(name="files:listVersions", tags=frozenset({"history"})),
        ToolSpec(name="users:removeAvatar", description="Take the picture of a user away."),
    )

    def names(query: str, limit: int = 10) -> list[str]:
        return [spec.name for spec in index.found(query, tools, limit)[0]]

    assert names("send") == ["mail:send"]
    assert names("list users") == ["users:list", "files:listVersions", "users:removeAvatar"]
    assert names("VERSIONS") == ["files:listVersions"]
    assert names("history") == ["files:listVersions"]
    assert names("avatar user") == ["users:removeAvatar", "users:list"]
    assert names("weather forecast") == []
    assert names("", 2) == ["mail:send", "users:list"]
    assert index.found("", tools, 2)[1] == 4
    assert index.found("list", tools, 1)[1] == 2


def test_a_tool_is_read_once_as_far_as_words_go() -> None:
    index = Index()

    def finds(query: str, description: str) -> bool:
        return index.found(query, by_name(ToolSpec(name="a:b", description=description)), 1)[1] == 1

    assert finds("mail", "Sends mail.")
    assert finds("letters", "Sends letters.")
    assert not finds("mail", "Sends letters.")
    assert not finds("mail", "x " * 1000 + "mail")
    assert not finds("mail " + "y" * 65, "y" * 65)


def test_a_name_is_cut_into_its_words() -> None:
    assert words("users:getHTTPStatus_v2") == ["users", "get", "http", "status", "v", "2"]
    assert words("Größe ändern") == ["größe", "ändern"]


@settings(max_examples=50)
@given(st.text(max_size=200), st.text(max_size=60), st.integers(1, 5))
def test_any_query_is_answered(query: str, description: str, limit: int) -> None:
    tools = by_name(*(ToolSpec(name=f"a:{n}", description=description) for n in range(6)))
    hits, total = Index().found(query, tools, limit)
    assert len(hits) == min(limit, total) <= 6


@settings(max_examples=50)
@given(st.lists(st.one_of(st.text(max_size=40), st.tuples(st.text(max_size=40))), max_size=30))
def test_what_is_kept_of_output_is_its_end(pieces: list[Any]) -> None:
    printed, whole, logged = Printed(50), "", 0
    for piece in pieces:
        if isinstance(piece, tuple):
            printed.add_log("info", piece[0])
            logged += len(piece[0])
        else:
            printed.add(piece)
            whole += piece
    said = printed.said()
    shown = said["stdout"]
    kept = len(shown) + sum(len(log["message"]) for log in said.get("logs", []))
    assert whole.endswith(shown)
    assert kept <= 50
    assert kept + said.get("droppedChars", 0) == len(whole) + logged


async def _hidden() -> None: ...
