"""Every call of an MCP client goes the broker's whole way, in one session of its principal."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_served import ADA, BOTH_ERAS, add_tools, call, direct, texts

from enclave_broker_core import AccessController, Broker, Principal, SessionLimits, ToolContext
from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import CallNext
from enclave_broker_core.errors import BrokerError, StoreError
from enclave_broker_core.observations import CallFinished


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio
eras = pytest.mark.parametrize("era", BOTH_ERAS)


async def test_what_is_denied_is_not_listed_and_not_called() -> None:
    rules: list[Any] = [{"pattern": "users:*", "allow": False, "unless": {"role": "admin"}}]
    broker = Broker(access=AccessController(default="allow", rules=rules))
    add_tools(broker)
    admin = Principal(id="root", roles=frozenset({"admin"}))
    async with broker:
        async with direct(broker) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            refused = await client.call_tool("users_get", {"id": 1})
        async with direct(broker, principal=admin) as client:
            allowed = await client.call_tool("users_get", {"id": 1})
    assert "say" in names
    assert not names & {"users_get", "users_drop"}
    assert refused.is_error
    assert refused.structured_content["code"] == "ACCESS_DENIED"
    assert allowed.structured_content == {"id": 1, "name": None}


async def test_only_allowed_tools_are_there() -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, direct(broker, allowed_tools=["users:*"]) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == [
            "users_get",
            "users_drop",
        ]
        assert (await client.call_tool("say", {})).is_error


async def test_every_call_passes_middleware_redaction_and_audit() -> None:
    passed: list[str] = []
    audited: list[Any] = []

    async def note(made: ToolCall, call_next: CallNext) -> Any:
        passed.append(made.name)
        return await call_next(made)

    class Audit:
        async def observe(self, observation: Any) -> None:
            audited.append(observation)

    broker = Broker(middleware=[note], sinks=[Audit()])
    add_tools(broker)
    async with broker:
        broker.conceal("hunter2-hunter2", "PASSWORD")
        async with direct(broker) as client:
            said = await client.call_tool("say", {"text": "it is hunter2-hunter2"})
            await client.call_tool("fail", {})
    assert passed == ["say", "fail"]
    assert "hunter2" not in texts(said)[0]
    finished = [one for one in audited if isinstance(one, CallFinished)]
    assert [(one.call.tool, one.call.outcome, one.principal) for one in finished] == [
        ("say", "ok", ADA),
        ("fail", "error", ADA),
    ]


async def test_results_and_arguments_have_the_sessions_limits() -> None:
    broker = Broker(limits=SessionLimits(max_result_bytes=100, max_argument_bytes=200))
    add_tools(broker)
    async with broker, direct(broker) as client:
        large = await client.call_tool("say", {"text": "x" * 150})
        too_many = await client.call_tool("say", {"text": "x" * 300})
    assert large.structured_content["code"] == "RESULT_TOO_LARGE"
    assert too_many.structured_content["code"] == "VALIDATION_ERROR"


async def test_a_tool_that_calls_what_is_not_there_is_there_itself() -> None:
    broker = Broker()

    @broker.tool("outer:one")
    async def outer(context: ToolContext) -> None:
        await context.call("nothing")

    async with broker, direct(broker) as client:
        for name in ("outer_one", "outer:one"):
            failed = await client.call_tool(name, {})
            assert failed.structured_content["code"] == "UNKNOWN_TOOL"


# The session


@eras
async def test_all_requests_share_one_session_of_the_principal(era: str) -> None:
    broker = Broker()
    add_tools(broker)
    async with broker:
        async with direct(broker, era) as client:
            assert broker.stats().open_sessions == 0
            one = await client.call_tool("who", {})
            two = await client.call_tool("who", {})
            [record] = await broker.list_sessions()
            assert (record.principal, record.metadata) == (ADA, {"transport": "mcp"})
            assert record.limits.idle_timeout == 1800
            assert texts(one) == texts(two) == [f'["{record.id}","ada"]']
        assert broker.stats().open_sessions == 0
        assert (await broker.get_session(record.id)).state.value == "completed"


async def test_a_session_that_ended_is_followed_by_another() -> None:
    broker = Broker()
    add_tools(broker)
    async with broker, direct(broker) as client:
        one = await client.call_tool("who", {})
        [record] = await broker.list_sessions()
        await (await broker.get_session(record.id)).cancel()
        two = await client.call_tool("who", {})
    assert texts(one) != texts(two)


async def test_a_call_whose_session_ends_is_told_so() -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with broker, direct(broker) as client:
        answers: list[Any] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, client, "wait", answers)
            await seen.began.wait()
            await broker.end_sessions("enough")
    assert answers[0].is_error
    assert answers[0].structured_content["code"] == "SESSION_CANCELLED"


async def test_more_calls_at_once_than_are_allowed_are_refused() -> None:
    broker = Broker()
    seen = add_tools(broker)
    async with broker, direct(broker, max_calls=1) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "wait", {})
            await seen.began.wait()
            refused = await client.call_tool("say", {})
            assert len((await client.list_tools()).tools) == 7
            tasks.cancel_scope.cancel()
        await seen.stopped.wait()
        assert not (await client.call_tool("say", {})).is_error
    assert refused.structured_content == {
        "code": "TOO_MANY_CALLS",
        "message": "1 calls are under way",
        "details": [{"type": "retry_info", "retryDelayMs": 1000}],
        "retryable": True,
        "retryAfterMs": 1000,
    }


@eras
@pytest.mark.parametrize("failure", [StoreError("no store", retry_after=2), KeyError("secret")])
async def test_what_fails_around_a_list_is_no_text_of_an_exception(
    era: str, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker()
    add_tools(broker)

    async def fail(**options: Any) -> None:
        raise failure

    async with broker, direct(broker, era) as client:
        monkeypatch.setattr(broker, "create_session", fail)
        with pytest.raises(MCPError) as refused:
            await client.list_tools()
    assert refused.value.code == -32603
    assert "secret" not in str(refused.value)
    if isinstance(failure, BrokerError):
        assert refused.value.data["code"] == "STORE_UNAVAILABLE"
        assert refused.value.data["retryAfterMs"] == 2000
