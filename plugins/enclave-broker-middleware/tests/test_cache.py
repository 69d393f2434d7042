"""What is kept, for whom, for how long, and how calls at once become one."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest
from enclave_broker_middleware.cache import Cache, CacheConfig
from middleware_calls import ADA, BOB, Answers, call, spec
from pydantic import ValidationError

from enclave_broker_core import DeadlineExceededError, Principal, ToolCall, ToolError
from enclave_broker_core.testing.fakes import Clock
from enclave_broker_core.testing.samples import at_once

pytestmark = pytest.mark.anyio

TOOL = spec(read_only=True)


class Held:
    """Below the cache: a call waits until ``release`` is set, and then is answered or fails."""

    def __init__(self, *answers: Any) -> None:
        self.release = anyio.Event()
        self.answers = Answers(*answers)

    async def __call__(self, call: ToolCall) -> Any:
        self.answers.calls.append(call)
        await self.release.wait()
        self.answers.calls.pop()
        return await self.answers(call)


async def made(cache: Cache, *calls: ToolCall) -> int:
    """How many of the calls were passed on."""
    below = Answers({"n": 1})
    for one in calls:
        assert await cache(one, below) == {"n": 1}
    return len(below.calls)


@pytest.mark.parametrize(
    ("fields", "tools", "passed_on"),
    [
        ({"read_only": True}, None, 1),
        ({"idempotent": True}, None, 2),
        ({}, ("users:*",), 1),
        ({"read_only": True}, ("orders:*",), 2),
    ],
)
async def test_only_what_changes_nothing(
    fields: dict[str, Any], tools: tuple[str, ...] | None, passed_on: int
) -> None:
    tool = spec(**fields)
    assert await made(Cache(CacheConfig(tools=tools)), call(tool), call(tool)) == passed_on


async def test_what_is_no_tool_is_not_kept() -> None:
    unknown = call(TOOL)._replace(name="users:other")
    assert await made(Cache(), unknown, unknown) == 2


@pytest.mark.parametrize(
    ("other", "passed_on"),
    [
        ({"args": {"id": 1.0}}, 1),
        ({"args": b'{"limit":20,"id":1}'}, 1),
        ({"args": {"id": True}}, 2),
        ({"args": {"id": "1"}}, 2),
        ({"session": "s_2"}, 1),
        ({"principal": BOB}, 2),
        ({"principal": None}, 2),
        ({"principal": Principal(id="ada", tenant="south")}, 2),
        ({"principal": Principal(id="ada")}, 2),
        ({"principal": Principal(id="ada", tenant="north", roles=frozenset({"admin"}))}, 2),
        ({"principal": Principal(id="ada", tenant="north", attributes={"a": 1})}, 2),
        ({"principal": Principal(id="ada", tenant="north", authenticated=False)}, 2),
        ({"metadata": {"plan": "free"}}, 2),
        ({"metadata": {"other": "thing"}}, 1),
    ],
    ids=str,
)
async def test_the_same_call_is_one_of_the_same_principal(
    other: dict[str, Any], passed_on: int
) -> None:
    schema = {"type": "object", "properties": {"limit": {"default": 20}}}
    tool = spec(read_only=True, input_schema=schema)
    first, second = call(tool, {"id": 1}), call(tool, **{"args": {"id": 1}, **other})
    assert await made(Cache(CacheConfig(metadata=("plan",))), first, second) == passed_on


async def test_those_without_a_name_share_nothing() -> None:
    nobody = Principal.anonymous()
    one, other = (call(TOOL, principal=nobody, session=session) for session in ("s_1", "s_2"))
    assert await made(Cache(), one, other, one, other) == 2


async def test_shared_only_when_it_says_so() -> None:
    cache = Cache(CacheConfig(shared=True))
    callers = [ADA, BOB, None, Principal.anonymous()]
    assert await made(cache, *(call(TOOL, principal=principal) for principal in callers)) == 1
    with pytest.raises(ValidationError, match="can't be for one session and shared by all"):
        CacheConfig(shared=True, per_session=True)


@pytest.mark.parametrize(
    ("config", "passed_on"),
    [
        (CacheConfig(), 2),
        (CacheConfig(shared=True), 2),
        (CacheConfig(tools=("*",)), 2),
        (CacheConfig(per_session=True), 1),
    ],
)
async def test_what_is_asked_with_the_caller_s_own_secret_is_kept_for_a_session_or_not_at_all(
    config: CacheConfig, passed_on: int
) -> None:
    tool = spec(read_only=True, secrets=("caller:authorization", "TOKEN"))
    assert await made(Cache(config), call(tool), call(tool)) == passed_on
    assert await made(Cache(config), call(tool), call(tool, session="s_2")) == 2


async def test_errors_are_not_kept() -> None:
    cache, below = Cache(), Answers(ToolError("no luck"), "well", "not this")
    with pytest.raises(ToolError):
        await cache(call(TOOL), below)
    assert [await cache(call(TOOL), below) for _ in range(2)] == ["well", "well"]


async def test_what_is_kept_can_not_be_changed_by_who_got_it() -> None:
    cache, below = Cache(), Answers({"list": [1]})
    for _ in range(3):
        answer = await cache(call(TOOL), below)
        assert answer == {"list": [1]}
        answer["list"].append(2)
        below = Answers("not asked")


async def test_it_is_kept_for_its_time() -> None:
    clock = Clock()
    cache = Cache(CacheConfig(ttl=10), clock=clock)
    assert await made(cache, call(TOOL)) == 1
    clock.now += 9.5
    assert await made(cache, call(TOOL)) == 0
    clock.now += 0.5
    assert await made(cache, call(TOOL)) == 1


async def test_a_tool_that_is_published_anew_is_asked_anew() -> None:
    cache, again = Cache(), spec(read_only=True)
    assert again == TOOL
    assert await made(cache, call(TOOL), call(again), call(again)) == 2


async def test_answers_that_can_not_be_kept_are_passed_on() -> None:
    cache, odd = Cache(), object()
    assert await cache(call(TOOL), Answers(odd)) is odd
    assert await made(cache, call(TOOL)) == 1


async def test_of_equal_calls_at_once_one_is_made() -> None:
    cache = Cache(CacheConfig(max_bytes=1))  # so small that nothing is kept after
    release, calls, answers = anyio.Event(), list[ToolCall](), list[Any]()

    async def below(given: ToolCall) -> Any:
        calls.append(given)
        await release.wait()
        return [given.args["n"], given.principal and given.principal.id]

    async def ask(n: int, principal: Principal) -> None:
        answers.append(await cache(call(TOOL, {"n": n}, principal=principal), below))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask, 1, ADA)
        await anyio.wait_all_tasks_blocked()
        assert len(calls) == 1
        tasks.start_soon(ask, 1, BOB)
        tasks.start_soon(ask, 2, ADA)
        await anyio.wait_all_tasks_blocked()
        assert len(calls) == 3
        release.set()
    assert sorted(answers) == [[1, "ada"]] * 5 + [[1, "bob"], [2, "ada"]]
    assert len({id(answer) for answer in answers}) == 7
    assert cache._flights == {}


async def test_who_waited_for_one_that_failed_asks_for_himself() -> None:
    cache = Cache()
    waiting: list[anyio.Event] = []

    async def below(given: ToolCall) -> Any:
        number, release = len(waiting), anyio.Event()
        waiting.append(release)
        await release.wait()
        if number == 0:
            raise ToolError("no luck")
        return "well"

    async def release() -> None:
        await anyio.wait_all_tasks_blocked()
        assert len(waiting) == 1
        waiting[0].set()
        await anyio.wait_all_tasks_blocked()
        assert len(waiting) == 3  # both at once, and not one after the other
        waiting[1].set()
        waiting[2].set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(release)
        answers = await at_once([partial(cache, call(TOOL), below) for _ in range(3)])
    assert sorted(map(str, answers)) == ["no luck", "well", "well"]
    assert cache._flights == {}


async def test_when_the_one_is_cancelled_the_next_makes_the_call() -> None:
    cache, below = Cache(), Held("well")
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await cache(call(TOOL), below))

    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as first:
            first.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(ask)
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            first.cancel_scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert len(below.answers.calls) == 2  # the cancelled one, and one of those that wait
        below.release.set()
    assert answers == ["well", "well"]
    assert cache._flights == {}


async def test_nobody_waits_longer_than_his_call_may_take() -> None:
    cache, below = Cache(), Held("well")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cache, call(TOOL), below)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(DeadlineExceededError):
            await cache(call(TOOL, seconds=0.01), below)
        tasks.cancel_scope.cancel()


async def test_a_call_that_never_ends_is_not_waited_for_beyond_its_own_time() -> None:
    """One that was let go is never resumed, and so never says that it is over."""
    cache, lost = Cache(), Held("never")
    letting_go = cache(call(TOOL, seconds=0.01), lost)
    letting_go.send(None)
    try:
        with anyio.fail_after(30):
            assert await cache(call(TOOL), Answers("well")) == "well"
    finally:
        letting_go.close()


async def test_what_a_tool_calls_does_not_wait_for_the_call_that_waits_for_it() -> None:
    cache = Cache()

    async def below(given: ToolCall) -> Any:
        return given.depth or await cache(call(TOOL, depth=1), below)

    with anyio.fail_after(30):
        assert await cache(call(TOOL), below) == 1
    assert await made(cache, call(spec("users:other", read_only=True))) == 1
