"""What a middleware may do with a call, and what it can't open."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from enclave_broker_core import (
    AccessController,
    AccessDeniedError,
    ArgumentsError,
    Broker,
    ConfigError,
    Principal,
    RateLimitedError,
    RateLimiter,
    ResultTooLargeError,
    ToolCall,
    ToolError,
)
from enclave_broker_core.contracts import CallNext

pytestmark = pytest.mark.anyio


def broker_with(*middleware: Any, **options: Any) -> tuple[Broker, list[Any]]:
    """A broker with ``t``, which answers its argument, and what ``t`` was called with."""
    seen: list[Any] = []
    broker = Broker(middleware=list(middleware), **options)

    @broker.tool("t")
    async def t(n: int = 0) -> dict[str, Any]:
        seen.append(n)
        return {"n": n, "at": datetime(2026, 1, 31, tzinfo=UTC)}

    return broker, seen


JSON = {"n": 1, "at": "2026-01-31T00:00:00Z"}


async def test_it_may_answer_by_itself_and_the_call_is_recorded() -> None:
    async def cached(call: ToolCall, call_next: CallNext) -> Any:
        return {"cached": datetime(2026, 1, 1, tzinfo=UTC)}

    limiter = RateLimiter(global_={"max_calls": 1, "window": 60})
    broker, seen = broker_with(cached, limiter=limiter)
    async with broker, broker.session() as session:
        for _ in range(3):
            assert await session.call("t") == {"cached": "2026-01-01T00:00:00Z"}
        assert [call.outcome for call in await session.history()] == ["ok"] * 3
    assert seen == []


async def test_what_access_refuses_it_does_not_see() -> None:
    calls = []

    async def answers(call: ToolCall, call_next: CallNext) -> Any:
        calls.append(call.name)

    broker, _ = broker_with(answers, access=AccessController(default="deny"))
    async with broker, broker.session() as session:
        with pytest.raises(AccessDeniedError):
            await session.call("t")
    assert calls == []


@pytest.mark.parametrize("at_once", [False, True], ids=["in turn", "concurrently"])
async def test_each_time_it_calls_next_counts(at_once: bool) -> None:
    async def twice(call: ToolCall, call_next: CallNext) -> Any:
        answers: list[Any] = []

        async def once() -> None:
            answers.append(await call_next(call))

        if at_once:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(once)
                tasks.start_soon(once)
        else:
            await once()
            await once()
        return answers

    limiter = RateLimiter(per_session={"max_calls": 2, "window": 60})
    broker, seen = broker_with(twice, limiter=limiter)
    async with broker, broker.session() as session:
        assert await session.call("t", {"n": 1}) == [JSON, JSON]
        with pytest.raises(RateLimitedError if not at_once else ToolError):
            await session.call("t", {"n": 2})
        assert len(await session.history()) == 2
    assert seen == [1, 1]


RULES = [{"pattern": "admin:*", "allow": False, "unless": {"role": "admin"}}]


async def test_the_name_that_it_changes_is_judged_again() -> None:
    async def redirect(call: ToolCall, call_next: CallNext) -> Any:
        return await call_next(call.replace(name=call.args["to"]))  # type: ignore[arg-type]

    access = AccessController([*RULES, {"pattern": "*", "allow": True}])
    broker = Broker(middleware=[redirect], access=access)

    @broker.tool("door")
    async def door(to: str) -> str:
        return "door"

    @broker.tool("admin:stop")
    async def stop(to: str) -> str:
        return "stopped"

    @broker.tool("other")
    async def other(to: str) -> str:
        return "other"

    async with broker, broker.session(principal=Principal(id="a")) as session:
        assert await session.call("door", {"to": "other"}) == "other"
        with pytest.raises(AccessDeniedError, match="you may not use admin:stop"):
            await session.call("door", {"to": "admin:stop"})
        history = await session.history()
        assert [(call.tool, call.outcome) for call in history] == [
            ("door", "ok"),
            ("door", "refused"),
        ]
        assert "admin:*" in history[1].rule


async def test_a_name_outside_the_sessions_tools_is_refused_to_it_too() -> None:
    async def redirect(call: ToolCall, call_next: CallNext) -> Any:
        return await call_next(call.replace(name="secret"))

    broker, seen = broker_with(redirect)
    broker.tool("secret")(lambda: seen.append("secret"))
    async with broker, broker.session(allowed_tools=["t"]) as session:
        with pytest.raises(AccessDeniedError):
            await session.call("t")
    assert seen == []


class Asked:
    """A policy that remembers what it was asked, with the arguments."""

    judges_arguments = True

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def decide(self, request: Any) -> Any:
        self.asked.append((request.tool, request.principal, dict(request.arguments)))
        return AccessController(default="allow").check(request.tool)


async def test_changed_arguments_are_validated_and_judged() -> None:
    async def change(call: ToolCall, call_next: CallNext) -> Any:
        return await call_next(call.replace(args={"n": call.args["m"]}))

    asked = Asked()
    broker, seen = broker_with(change, access=asked)
    async with broker, broker.session() as session:
        assert await session.call("t", {"m": 1}) == JSON
        with pytest.raises(ArgumentsError, match="n: Input should be a valid integer"):
            await session.call("t", {"m": "x"})
        assert [call.arguments for call in await session.history()] == [{"m": 1}, {"m": "x"}]
    assert asked.asked == [("t", None, {"n": 1})]
    assert seen == [1]


async def test_a_changed_principal_is_judged_again() -> None:
    async def as_guest(call: ToolCall, call_next: CallNext) -> Any:
        return await call_next(call.replace(principal=Principal(id="guest")))

    access = AccessController(RULES, default="allow")
    admin = Principal(id="a", roles=frozenset({"admin"}))
    for middleware, allowed in (((), True), ((as_guest,), False)):
        broker = Broker(middleware=middleware, access=access)
        broker.tool("admin:stop")(lambda: "stopped")
        async with broker, broker.session(principal=admin) as session:
            if allowed:
                assert await session.call("admin:stop") == "stopped"
            else:
                with pytest.raises(AccessDeniedError):
                    await session.call("admin:stop")


async def test_what_it_raises_is_the_calls_error_with_its_message() -> None:
    async def bad(call: ToolCall, call_next: CallNext) -> Any:
        await call_next(call)
        raise ValueError("broken middleware")

    broker, seen = broker_with(bad)
    async with broker, broker.session() as session:
        with pytest.raises(ToolError, match="broken middleware"):
            await session.call("t", {"n": 1})
        assert (await session.history())[0].error_code == "TOOL_ERROR"
    assert seen == [1]


CHANGES: list[Callable[[Any], Any]] = [
    lambda args: args.__setitem__("n", 2),
    lambda args: args.update(n=2),
    lambda args: args.pop("n"),
    lambda args: args.clear(),
    lambda args: args.setdefault("m", 2),
    lambda args: args.__delitem__("n"),
    lambda args: args.__ior__({"n": 2}),
]


async def test_it_can_not_change_arguments_in_place() -> None:
    async def mutate(call: ToolCall, call_next: CallNext) -> Any:
        for change in CHANGES:
            with pytest.raises(TypeError, match=r"use call\.replace\(args=…\)"):
                change(call.args)
        return await call_next(call)

    broker, seen = broker_with(mutate)
    async with broker, broker.session() as session:
        assert await session.call("t", {"n": 1}) == JSON
    assert seen == [1]


def plain(call: ToolCall, call_next: CallNext) -> Any: ...


class PlainObject:
    def __call__(self, call: ToolCall, call_next: CallNext) -> Any: ...


@pytest.mark.parametrize("bad", [plain, PlainObject(), functools.partial(plain), None])
async def test_one_that_is_not_async_is_refused_at_the_start(bad: Any) -> None:
    broker = Broker(middleware=[bad])
    with pytest.raises(ConfigError, match="must be 'async def \\(call, call_next\\)'"):
        async with broker:
            pass


async def test_the_first_is_outermost_and_sees_json() -> None:
    order: list[Any] = []

    class Step:
        def __init__(self, name: str) -> None:
            self.name = name

        async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
            order.append(f"{self.name} in")
            answer = await call_next(call)
            order.append((self.name, dict(answer)))
            return answer | {self.name: True}

    broker, _ = broker_with(Step("a"), Step("b"))
    async with broker, broker.session() as session:
        assert await session.call("t", {"n": 1}) == JSON | {"a": True, "b": True}
    assert order == ["a in", "b in", ("b", JSON), ("a", JSON | {"b": True})]


async def test_it_can_not_flood() -> None:
    async def flood(call: ToolCall, call_next: CallNext) -> Any:
        return ["x" * 100] * 100

    broker, _ = broker_with(flood)
    async with broker, broker.session(max_result_bytes=1000) as session:
        with pytest.raises(ResultTooLargeError):
            await session.call("t")


async def test_it_can_not_leak_a_secret() -> None:
    kept: list[Any] = []

    async def leak(call: ToolCall, call_next: CallNext) -> Any:
        kept.append(await call_next(call))
        if call.args.get("raise"):
            raise ValueError(f"the answer was {kept[0]}")
        return kept

    class Source:
        async def get(self, name: str) -> str | None:
            return "hunter2-hunter2"

    broker = Broker(middleware=[leak], secrets=[Source()])

    @broker.tool("t", secrets=["KEY"])
    async def t(ctx: Any = None, **rest: bool) -> str:
        return "the key is hunter2-hunter2"

    async with broker, broker.session() as session:
        assert await session.call("t") == ["the key is [secret]"]
        with pytest.raises(ToolError, match=r"was the key is \[secret\]") as caught:
            await session.call("t", {"raise": True})
    assert "hunter2" not in str(caught.value)
