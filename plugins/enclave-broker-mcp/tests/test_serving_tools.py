"""What an MCP client sees of a broker, in both eras of the protocol, without a wire between."""

from __future__ import annotations

from typing import Any

import anyio
import mcp_types as types
import pytest
from enclave_broker_mcp.serving.listing import Listing
from mcp.shared.exceptions import MCPError
from mcp_served import BOTH_ERAS, Seen, add_tools, direct, texts

from enclave_broker_core import AccessController, Broker, RateLimiter
from enclave_broker_core.build import open_setup
from enclave_broker_core.contracts import AccessRequest
from enclave_broker_core.models import Decision, ToolSpec, Verdict


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", BOTH_ERAS)


@eras
async def test_the_catalog_is_listed_with_schemas_and_annotations(era: str) -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, direct(broker, era) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == ["users_get", "users_drop", "say", "fail", "steps", "wait", "who"]
    get, drop = tools["users_get"], tools["users_drop"]
    assert (get.title, get.description) == ("users:get", "Look a user up.")
    assert get.input_schema["properties"]["id"]["type"] == "integer"
    assert get.input_schema["required"] == ["id"]
    assert get.output_schema is not None
    assert get.output_schema["type"] == "object"
    assert get.annotations == types.ToolAnnotations(read_only_hint=True, idempotent_hint=True)
    assert drop.output_schema is None
    assert drop.annotations == types.ToolAnnotations(
        read_only_hint=False, idempotent_hint=False, destructive_hint=True
    )


@eras
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_results_are_structured_and_text(era: str) -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, direct(broker, era) as client:
        user = await client.call_tool("users_get", {"id": 7})
        dropped = await client.call_tool("users:drop", {"id": 7})
        said = await client.call_tool("say", {"text": "çedilla"})
    assert user.structured_content == {"id": 7, "name": None}
    assert texts(user) == ['{"id":7,"name":null}']
    assert (dropped.structured_content, texts(dropped)) == (None, ["[7]"])
    assert (said.structured_content, texts(said)) == (None, ["çedilla"])
    assert not user.is_error


@eras
async def test_errors_are_a_tools_errors_with_code_and_time(era: str) -> None:
    limiter = RateLimiter(per_tool={"say": {"max_calls": 1, "window": 600}})
    broker = Broker(limiter=limiter)
    add_tools(broker)
    async with broker, direct(broker, era) as client:
        failed = await client.call_tool("fail", {})
        wrong = await client.call_tool("users_get", {"id": "x"})
        await client.call_tool("say", {})
        limited = await client.call_tool("say", {})
    assert failed.is_error
    assert failed.structured_content == {
        "code": "TOOL_ERROR",
        "message": "it does not work",
        "retryable": False,
    }
    assert texts(failed) == ["TOOL_ERROR: it does not work"]
    assert wrong.structured_content["code"] == "VALIDATION_ERROR"
    assert wrong.structured_content["details"][0]["field"] == "id"
    assert limited.is_error
    assert limited.structured_content["code"] == "RATE_LIMITED"
    assert limited.structured_content["retryable"] is True
    assert 0 < limited.structured_content["retryAfterMs"] <= 600_000
    assert "(try again in " in texts(limited)[0]


@eras
async def test_a_name_that_is_no_tools_is_an_error_of_the_protocol(era: str) -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, direct(broker, era) as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("nothing", {})
    assert (refused.value.code, refused.value.message) == (-32602, "Unknown tool: nothing")


@eras
async def test_progress_only_grows_and_comes_before_the_result(era: str) -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with broker, direct(broker, era) as client:
        result = await client.call_tool("steps", {}, progress_callback=seen.note)
        at_result = list(seen.progress)
        assert (await client.call_tool("steps", {})).content == result.content
    assert texts(result) == ["done"]
    assert at_result == [
        (1.0, None, "connecting"),
        (10.0, 30.0, "receiving"),
        (20.0, 30.0, "receiving"),
        (30.0, 30.0, "receiving"),
        (31.0, None, "receiving"),
        (32.0, None, "processing"),
    ]
    assert seen.progress == at_result


@eras
async def test_the_progress_of_other_calls_is_not_ones_own(era: str) -> None:
    broker = Broker()
    seen, other = add_tools(broker), Seen()
    async with broker, direct(broker, era) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(_ignored, client, "wait", other)
        await seen.began.wait()
        await client.call_tool("steps", {}, progress_callback=seen.note)
        tasks.cancel_scope.cancel()
    assert len(seen.progress) == 6
    assert other.progress == []


@eras
async def test_what_a_client_cancels_has_stopped(era: str) -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with broker, direct(broker, era) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "wait", {})
            await seen.began.wait()
            tasks.cancel_scope.cancel()
        await seen.stopped.wait()
        [session] = [record.id for record in await broker.list_sessions()]
        calls = await (await broker.get_session(session)).history()
        assert [(call.tool, call.outcome) for call in calls] == [("wait", "cancelled")]
        assert texts(await client.call_tool("say", {"text": "on"})) == ["on"]


async def test_a_client_is_told_when_the_catalog_changes() -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with broker, direct(broker, message_handler=seen.notice) as client:
        assert client.server_capabilities.tools == types.ToolsCapability(list_changed=True)
        await client.list_tools()
        broker.remove_tool("who")
        await seen.changed.wait()
        assert seen.changes == ["ToolListChangedNotification"]
        assert "who" not in {tool.name for tool in (await client.list_tools()).tools}


async def test_a_client_is_told_of_another_schema_under_the_same_name() -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with broker, direct(broker, message_handler=seen.notice) as client:
        await client.list_tools()
        broker.remove_tool("say")

        @broker.tool("say")
        async def say(words: list[str]) -> str:
            return " ".join(words)

        await seen.changed.wait()
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools["say"].input_schema["properties"]) == ["words"]


async def test_a_client_is_told_when_other_rules_show_it_other_tools() -> None:
    config: dict[str, Any] = {"access": {"use": "rules", "default": "allow", "rules": []}}
    async with open_setup(config) as setup:
        seen = add_tools(setup.broker)
        async with direct(setup.broker, message_handler=seen.notice) as client:
            await client.list_tools()
            config["access"]["rules"] = [{"pattern": "users:*", "allow": False}]
            await setup.reload()
            await seen.changed.wait()
            names = {tool.name for tool in (await client.list_tools()).tools}
    assert "say" in names
    assert "users_get" not in names


async def test_who_may_not_see_a_change_is_not_told_of_it() -> None:
    rules: list[Any] = [{"pattern": "hidden:*", "allow": False}]
    broker = Broker(access=AccessController(default="allow", rules=rules))
    seen = add_tools(broker)
    async with broker, direct(broker, message_handler=seen.notice) as client:
        await client.list_tools()
        broker.tool("hidden:one")(_nothing)
        await anyio.wait_all_tasks_blocked()
        broker.tool("shown")(_nothing)
        await seen.changed.wait()
        assert "hidden_one" not in {tool.name for tool in (await client.list_tools()).tools}
        await anyio.wait_all_tasks_blocked()
    assert seen.changes == ["ToolListChangedNotification"]


async def test_a_change_while_a_list_is_made_is_in_it() -> None:
    class Slow:
        judges_arguments = False
        changing = True

        async def decide(self, request: AccessRequest) -> Decision:
            if self.changing:
                self.changing = False
                broker.tool("late")(_nothing)
                await anyio.wait_all_tasks_blocked()
            return Decision(Verdict.ALLOW, "slow")

    broker = Broker(access=Slow())
    add_tools(broker)
    async with broker, direct(broker) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert names[-1] == "late"


async def test_a_client_of_the_newer_protocol_listens_for_changes() -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, direct(broker, "auto") as client:
        await client.list_tools()
        async with client.listen(tools_list_changed=True) as changes:
            broker.remove_tool("who")
            event = await anext(changes)
        assert type(event).__name__ == "ToolsListChanged"
        assert "who" not in {tool.name for tool in (await client.list_tools()).tools}


async def test_long_lists_come_in_pages() -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, direct(broker, page_size=3) as client:
        pages, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            pages.append([tool.name for tool in page.tools])
            cursor = page.next_cursor
            if cursor is None:
                break
        assert pages == [["users_get", "users_drop", "say"], ["fail", "steps", "wait"], ["who"]]
        with pytest.raises(MCPError) as refused:
            await client.list_tools(cursor="no such name")
    assert refused.value.code == -32602


def test_one_tool_with_a_schema_that_mcp_does_not_take_hides_no_other() -> None:
    bad = ToolSpec(name="bad", input_schema={"type": "object", "required": True})
    nullable = ToolSpec(name="nullable", input_schema={"type": ["object", "null"]})
    good = ToolSpec(name="good")
    listing = Listing(10)
    page = listing.page({"bad": bad, "nullable": nullable, "good": good}, None, {})
    assert [tool.name for tool in page.tools] == ["nullable", "good"]
    assert page.tools[0].input_schema["type"] == "object"
    assert listing.input_schema("good") == good.input_schema
    assert listing.input_schema("bad") is None


def test_a_tool_is_made_anew_when_it_is_published_anew() -> None:
    listing = Listing(10)
    before, after = ToolSpec(name="a", description="1"), ToolSpec(name="a", description="2")
    [first] = listing.page({"a": before}, None, {}).tools
    [again] = listing.page({"a": before}, None, {}).tools
    [other] = listing.page({"a": after}, None, {}).tools
    assert again is first
    assert (first.description, other.description) == ("1", "2")


async def _nothing() -> None: ...


async def _ignored(client: Any, name: str, seen: Seen) -> None:
    await client.call_tool(name, {}, progress_callback=seen.note)
