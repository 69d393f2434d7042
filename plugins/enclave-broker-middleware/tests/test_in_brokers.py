"""The middleware in whole brokers: what access, limits and the record make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from enclave_broker_middleware.errors import CircuitOpenError, TooManyCallsError
from pydantic import JsonValue

from enclave_broker_core import (
    AccessController,
    AccessDeniedError,
    AccessRequest,
    ArgumentsError,
    Broker,
    Decision,
    Principal,
    RateLimitedError,
    RateLimiter,
    ToolContext,
    ToolError,
    ToolTimeoutError,
    Verdict,
    use,
)

pytestmark = pytest.mark.anyio

ADA, BOB = Principal(id="ada"), Principal(id="bob")


class Judge:
    """Allows some of the arguments; notes all that it is asked."""

    judges_arguments = True

    def __init__(self, *allowed: Mapping[str, JsonValue]) -> None:
        self.allowed = allowed
        self.asked: list[Any] = []

    async def decide(self, request: AccessRequest) -> Decision:
        self.asked.append((request.tool, dict(request.arguments or {})))
        allowed = request.arguments in self.allowed
        return Decision(Verdict.ALLOW if allowed else Verdict.DENY, "judge")


def counting_broker(*middleware: Any, **options: Any) -> tuple[Broker, list[Any]]:
    """A broker with ``users:get``, and what it was called with. An id of 0 fails."""
    seen: list[Any] = []
    broker = Broker(middleware=list(middleware), **options)

    @broker.tool("users:get", read_only=True)
    async def get_user(ctx: ToolContext, id: int = 1, dry: bool = False) -> dict[str, Any]:
        seen.append((id, dry))
        if id == 0:
            raise ToolError("no luck", retry_after=0.001)
        return {"id": id, "mail": "ada@example.org"}

    return broker, seen


async def test_a_cached_answer_costs_no_limit_and_is_recorded() -> None:
    limiter = RateLimiter(global_={"max_calls": 1, "window": 60})
    broker, seen = counting_broker(use("cache"), limiter=limiter)
    async with broker, broker.session() as session:
        for args in ({}, {"id": 1}, {"id": 1.0, "dry": False}):
            assert (await session.call("users:get", args))["id"] == 1
        with pytest.raises(RateLimitedError):
            await session.call("users:get", {"id": 2})
        history = await session.history()
    assert seen == [(1, False)]
    assert [record.outcome for record in history] == ["ok", "ok", "ok", "refused"]


async def test_an_answer_is_for_those_only_who_may_call() -> None:
    rules = [{"pattern": "*", "allow": False, "unless": {"vip": True}}]
    broker, seen = counting_broker(
        use("cache", shared=True), access=AccessController(default="deny", rules=rules)
    )
    vip = Principal(id="ada", attributes={"vip": True})
    async with broker:
        async with broker.session(principal=vip) as session:
            await session.call("users:get")
        async with broker.session(principal=BOB) as session:
            with pytest.raises(AccessDeniedError):
                await session.call("users:get")
    assert len(seen) == 1


async def test_answers_are_apart_in_a_broker_too() -> None:
    broker, seen = counting_broker(use("cache"))
    async with broker:
        for principal in (ADA, BOB, None, ADA, BOB, None):
            async with broker.session(principal=principal) as session:
                await session.call("users:get")
    assert len(seen) == 3


async def test_a_tool_that_is_replaced_is_asked_anew() -> None:
    broker, seen = counting_broker(use("cache"))
    async with broker, broker.session() as session:
        await session.call("users:get")
        broker.remove_tool("users:get")

        @broker.tool("users:get", read_only=True)
        async def get_user(id: int = 1, dry: bool = False) -> str:
            return "another"

        assert await session.call("users:get") == "another"
    assert len(seen) == 1


async def test_each_attempt_counts_in_the_limits() -> None:
    limiter = RateLimiter(global_={"max_calls": 2, "window": 60})
    broker, seen = counting_broker(use("retry", attempts=3, delay=0.001), limiter=limiter)
    async with broker, broker.session() as session:
        with pytest.raises(RateLimitedError):
            await session.call("users:get", {"id": 0})
        (record,) = await session.history()
    assert seen == [(0, False)] * 2
    assert record.error_code == "RATE_LIMITED"


async def test_a_tool_that_is_late_is_called_again_with_its_whole_time() -> None:
    broker = Broker(middleware=[use("retry", delay=0.001)])
    calls = []

    @broker.tool("slow", idempotent=True, timeout=0.02)
    async def slow() -> str:
        calls.append(1)
        if len(calls) < 3:
            await anyio.sleep_forever()
        return "at last"

    async with broker, broker.session() as session:
        assert await session.call("slow") == "at last"
    assert len(calls) == 3


async def test_a_call_timeout_ends_the_attempts_and_the_waits() -> None:
    broker = Broker(middleware=[use("retry", attempts=20, delay=1000, max_delay=1000)])

    @broker.tool("slow", idempotent=True, timeout=0.01)
    async def slow() -> None:
        await anyio.sleep_forever()

    with anyio.fail_after(30):
        async with broker, broker.session(call_timeout=0.05) as session:
            with pytest.raises(ToolTimeoutError):
                await session.call("slow")


async def test_those_who_judge_arguments_see_the_changed_ones() -> None:
    judge = Judge({"id": 1, "dry": False})
    rules = [{"tools": ["*"], "fixed": {"id": 7}}]
    broker, seen = counting_broker(use("defaults", rules=rules), access=[judge])
    async with broker, broker.session() as session:
        with pytest.raises(AccessDeniedError):
            await session.call("users:get", {"id": 1})
    assert seen == []
    assert judge.asked == [("users:get", {"id": 7, "dry": False})]


async def test_changed_arguments_are_validated() -> None:
    broker, seen = counting_broker(use("redact", arguments=True, pointers=["/id"]))
    async with broker, broker.session() as session:
        with pytest.raises(ArgumentsError):
            await session.call("users:get", {"id": 1})
    assert seen == []


async def test_those_who_judge_arguments_are_not_asked_about_a_kept_answer() -> None:
    """So an answer that they guard is not to be shared, as the page says."""
    judge = Judge({"id": 1, "dry": False})
    broker, _ = counting_broker(use("cache"), access=[judge])
    async with broker, broker.session() as session:
        for _ in range(2):
            await session.call("users:get")
        with pytest.raises(AccessDeniedError):
            await session.call("users:get", {"id": 2})
        judge.allowed = ({"id": 2, "dry": False},)
        await session.call("users:get", {"id": 2})  # the refusal was not kept
    assert [arguments["id"] for _, arguments in judge.asked] == [1, 2, 2]


async def test_a_changed_call_is_asked_about_again() -> None:
    """The policies above the middleware are asked twice for it, and once for an unchanged one."""
    asked: list[str] = []

    class Notes:
        judges_arguments = False

        async def decide(self, request: AccessRequest) -> Decision:
            asked.append(request.tool)
            return Decision(Verdict.ALLOW, "notes")

    rules = [{"tools": ["*"], "fixed": {"dry": True}}]
    broker, seen = counting_broker(use("defaults", rules=rules), access=[Notes()])
    async with broker, broker.session() as session:
        await session.call("users:get", {"id": 1})
        await session.call("users:get", {"dry": True})
    assert seen == [(1, True)] * 2
    assert asked == ["users:get"] * 3


@pytest.mark.parametrize("may", [True, False])
async def test_the_tool_beside_has_to_be_allowed_too(
    may: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rules = [
        {"pattern": "users:get", "allow": True},
        {"pattern": "users:get2", "allow": may},
    ]
    limiter = RateLimiter(per_tool={"users:get2": {"max_calls": 1, "window": 60}})
    broker, seen = counting_broker(
        use("dry_run", compare={"users:get": "users:get2"}),
        access=AccessController(default="deny", rules=rules),
        limiter=limiter,
    )
    beside = []

    @broker.tool("users:get2")
    async def get_user(id: int = 1, dry: bool = False) -> dict[str, Any]:
        beside.append(id)
        return {"id": id, "mail": "eve@example.org"}

    async with broker, broker.session() as session:
        for _ in range(2):
            assert (await session.call("users:get", {"id": 3}))["mail"] == "ada@example.org"
        history = await session.history()
    assert [record.outcome for record in history] == ["ok", "ok"]
    assert (len(seen), beside) == (2, [3] if may else [])
    told = ["differs at /mail", "RATE_LIMITED"] if may else ["ACCESS_DENIED", "ACCESS_DENIED"]
    for message, expected in zip(caplog.messages, told, strict=True):
        assert expected in message


async def test_what_is_described_is_not_done() -> None:
    broker, seen = counting_broker(use("dry_run", tools=["users:*"]))
    async with broker, broker.session() as session:
        found = await session.call("users:get", {"id": 9})
    assert (found["dryRun"], found["arguments"], seen) == (True, {"id": 9}, [])


async def test_what_is_redacted_is_in_the_events_as_far_as_they_can_be_reached() -> None:
    """The arguments are recorded above all middleware, as the page says."""
    broker, seen = counting_broker(use("redact", arguments=True))

    @broker.tool("mail:find")
    async def find(who: str) -> str:
        seen.append(who)
        return f"{who} is ada@example.org"

    async with broker, broker.session() as session:
        assert await session.call("mail:find", {"who": "a@b.cd"}) == "[email] is [email]"
        (record,) = await session.history()
    assert seen == ["[email]"]
    assert record.arguments == {"who": "a@b.cd"}


async def test_refusals_reach_the_caller_with_their_code() -> None:
    broker, _ = counting_broker(
        use("circuit_breaker", max_failures=1), use("concurrency", max_calls=1, timeout=0)
    )
    waiting = anyio.Event()

    @broker.tool("wait")
    async def wait() -> None:
        waiting.set()
        await anyio.sleep_forever()

    async with broker, broker.session() as session, anyio.create_task_group() as tasks:
        with pytest.raises(ToolError):
            await session.call("users:get", {"id": 0})
        with pytest.raises(CircuitOpenError):
            await session.call("users:get", {"id": 1})
        tasks.start_soon(session.call, "wait")
        await waiting.wait()
        with pytest.raises(TooManyCallsError):
            await session.call("wait")
        codes = [record.error_code for record in await session.history()]
        tasks.cancel_scope.cancel()
    assert codes == ["TOOL_ERROR", "CIRCUIT_OPEN", "TOO_MANY_CALLS"]


async def test_two_brokers_share_nothing() -> None:
    chosen = use("cache", shared=True)
    for _ in range(2):
        broker, seen = counting_broker(chosen)
        async with broker, broker.session() as session:
            await session.call("users:get")
        assert len(seen) == 1
