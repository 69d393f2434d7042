"""ToolRouter alone: which handler a name goes to, and what is kept of its options."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave_broker_core import (
    AccessDeniedError,
    ConfigError,
    Principal,
    Rate,
    RateLimitedError,
    ToolRouter,
    ToolTimeoutError,
    UnknownToolError,
)
from enclave_broker_core.patterns import Pattern

pytestmark = pytest.mark.anyio


async def echo(name: str, args: dict[str, Any]) -> Any:
    return name, args


def router_of(*patterns: str) -> ToolRouter:
    router = ToolRouter()
    for pattern in patterns:
        router.register(pattern, echo)
    return router


@pytest.mark.parametrize(
    ("patterns", "name", "chosen"),
    [
        (["*", "db:*", "db:query"], "db:query", "db:query"),
        (["db:query", "db:*", "*"], "db:query", "db:query"),
        (["*", "db:*", "db:query"], "db:other", "db:*"),
        (["*", "db:*", "db:query"], "other", "*"),
        (["db:*", "*:query"], "db:query", "*:query"),
        (["*a", "a*"], "aa", "*a"),
        (["a*", "*a"], "aa", "a*"),
        (["a?", "a[bc]", "a*"], "ab", "a?"),
        (["a*", "{ab,abcdef}*"], "abcdef", "{ab,abcdef}*"),
        (["[ab][ab][ab]", "a*"], "aba", "a*"),
    ],
)
async def test_the_most_specific_pattern_wins(patterns: list[str], name: str, chosen: str) -> None:
    router = router_of(*patterns)
    assert router.match(name) == chosen
    assert await router.execute(name, {"x": 1}) == (name, {"x": 1})


async def test_only_the_chosen_handler_is_called() -> None:
    router, called = ToolRouter(), []
    for pattern in ("*", "a:*", "a:b", "a:b*"):
        router.register(pattern, lambda name, args, own=pattern: called.append((own, name)))
    for name in ("a:b", "a:bc", "a:c", "c"):
        await router.execute(name)
    assert called == [("a:b", "a:b"), ("a:b*", "a:bc"), ("a:*", "a:c"), ("*", "c")]


texts = st.sampled_from(
    [
        "*",
        "a*",
        "*a",
        "?",
        "??",
        "a",
        "ab",
        "a:*",
        "*:*",
        "[ab]*",
        "{a,b}*",
        "{a,abc}*",
        "ab*",
        "*b",
    ]
)


@settings(max_examples=120, deadline=None)
@given(patterns=st.lists(texts, unique=True, max_size=8), name=st.text("ab:", max_size=4))
def test_the_choice_is_the_most_specific_by_definition(patterns: list[str], name: str) -> None:
    """Exact first, then most literal characters, then the one registered first."""
    best: tuple[bool, int, int] | None = None
    chosen: str | None = None
    for position, text in enumerate(patterns):
        pattern = Pattern(text)
        if pattern.matches(name):
            rank = (pattern.exact, pattern.literals, -position)
            if best is None or rank > best:
                best, chosen = rank, text
    router = router_of(*patterns)
    assert router.match(name) == chosen
    assert [route.pattern.text for route in router.routes] == patterns


def test_an_identical_pattern_is_refused_and_changes_nothing() -> None:
    router = router_of("a:*", "b")
    for text in ("a:*", "b"):
        with pytest.raises(ConfigError, match=f"'{text[0]}.*' has a handler already"):
            router.register(text, echo)
    assert [route.pattern.text for route in router.routes] == ["a:*", "b"]


@pytest.mark.parametrize(
    ("pattern", "handler", "options", "said"),
    [
        ("a[", echo, {}, "unfinished '\\[' set"),
        ("", echo, {}, "can't be empty"),
        ("not a name", echo, {}, "'not a name' is not a tool name"),
        ("a", None, {}, "the handler of 'a' is None, which can't be called"),
        ("a", echo, {"rate_limit": {"max_calls": 0, "window": 1}}, "rate_limit.max_calls: "),
        ("a", echo, {"timeout": 0}, "timeout: "),
    ],
)
def test_what_is_wrong_is_a_configuration_error(
    pattern: str, handler: Any, options: dict[str, Any], said: str
) -> None:
    router = ToolRouter()
    with pytest.raises(ConfigError, match=said):
        router.register(pattern, handler, **options)
    assert router.routes == ()


async def test_a_name_that_nothing_matches() -> None:
    with pytest.raises(UnknownToolError, match="no handler matches 'a'"):
        await ToolRouter().execute("a")
    router = router_of("b:*")
    assert router.match("a") is None
    with pytest.raises(UnknownToolError):
        await router.execute("a")


async def test_plain_handlers_run_in_a_thread_and_async_ones_do_not() -> None:
    router = ToolRouter()
    loop = threading.get_ident()

    async def in_loop(name: str, args: dict[str, Any]) -> bool:
        return threading.get_ident() == loop

    def in_thread(name: str, args: dict[str, Any]) -> bool:
        return threading.get_ident() != loop

    def later(name: str, args: dict[str, Any]) -> Any:
        """A plain function whose answer has to be awaited."""
        return in_loop(name, args)

    class Callable:
        async def __call__(self, name: str, args: dict[str, Any]) -> bool:
            return await in_loop(name, args)

    router.register("in_loop", in_loop)
    router.register("in_thread", in_thread)
    router.register("later", later)
    router.register("object", Callable())
    for name in ("in_loop", "in_thread", "later", "object"):
        assert await router.execute(name) is True


async def test_arguments_are_a_dict_of_the_handlers_own() -> None:
    router = ToolRouter()

    async def spoil(name: str, args: dict[str, Any]) -> Any:
        args["spoilt"] = True
        return args

    router.register("a", spoil)
    given = {"x": 1}
    assert await router.execute("a", given) == {"x": 1, "spoilt": True}
    assert given == {"x": 1}
    assert await router.execute("a") == {"spoilt": True}


async def test_what_a_handler_raises_is_raised() -> None:
    router = ToolRouter()

    def fail(name: str, args: dict[str, Any]) -> None:
        raise LookupError("not there")

    router.register("a", fail)
    with pytest.raises(LookupError, match="not there"):
        await router.execute("a")


@pytest.mark.parametrize("rate", [Rate(max_calls=3, window=600), {"max_calls": 3, "window": 600}])
async def test_a_rate_limit_is_shared_by_all_names_of_the_pattern(rate: Any) -> None:
    router = ToolRouter()
    router.register("db:*", echo, rate_limit=rate)
    router.register("db:free", echo)
    for number in range(3):
        await router.execute(f"db:{number}")
    with pytest.raises(RateLimitedError, match=r"db:\* may be called 3 times in 600 s") as caught:
        await router.execute("db:query")
    assert (caught.value.scope, caught.value.limit) == ("tool db:*", 3)
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 600
    assert await router.execute("db:free") == ("db:free", {})


async def test_requires_auth() -> None:
    router = ToolRouter()
    router.register("api:*", echo, requires_auth=True)
    router.register("open", echo)
    assert await router.execute("api:x", principal=Principal(id="ada")) == ("api:x", {})
    # The program itself calls as nobody, and is trusted.
    assert await router.execute("api:x") == ("api:x", {})
    with pytest.raises(AccessDeniedError, match="api:x needs an authenticated caller"):
        await router.execute("api:x", principal=Principal.anonymous())
    assert await router.execute("open", principal=Principal.anonymous()) == ("open", {})


async def test_a_refused_caller_uses_up_no_call() -> None:
    router = ToolRouter()
    router.register("a", echo, requires_auth=True, rate_limit=Rate(max_calls=1, window=600))
    for _ in range(3):
        with pytest.raises(AccessDeniedError):
            await router.execute("a", principal=Principal.anonymous())
    assert await router.execute("a") == ("a", {})


async def test_a_timeout_ends_the_handler() -> None:
    router, ended = ToolRouter(), anyio.Event()

    async def wait(name: str, args: dict[str, Any]) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    router.register("slow", wait, timeout=0.01)
    with anyio.fail_after(10):
        with pytest.raises(ToolTimeoutError, match=r"slow did not answer within 0.01 s"):
            await router.execute("slow")
    assert ended.is_set()


async def test_calls_run_at_once() -> None:
    router, arrived = ToolRouter(), itertools.count(1)
    all_there = anyio.Event()

    async def meet(name: str, args: dict[str, Any]) -> None:
        if next(arrived) == 3:
            all_there.set()
        await all_there.wait()

    router.register("meet:*", meet)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(router.execute, f"meet:{number}")
    assert next(arrived) == 4
