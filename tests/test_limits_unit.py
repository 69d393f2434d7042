"""RateLimiter alone: which windows a call counts in, and all of them or none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enclave_broker_core import ConfigError, Principal, Rate, RateLimiter, ToolSpec, Window
from enclave_broker_core.patterns import Pattern
from enclave_broker_core.testing.fakes import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


ADA = Principal(id="ada", tenant="acme")
BOB = Principal(id="bob", tenant="acme")
EVE = Principal(id="eve")


def admitted(limiter: RateLimiter, times: int, *call: Any) -> int:
    return sum(limiter.allow(*call).allowed for _ in range(times))


def test_without_rates_all_is_admitted() -> None:
    limiter = RateLimiter()
    assert limiter.windows("s_1", "a", ADA) == ()
    assert admitted(limiter, 1000, "s_1", "a", ADA) == 1000


def test_the_windows_of_a_call() -> None:
    limiter = RateLimiter(
        global_={"max_calls": 1000, "window": 60},
        per_session=Rate(max_calls=100, window=61),
        per_principal=Rate(max_calls=50, window=62),
        per_tenant=Rate(max_calls=70, window=63),
        per_tool={"exp*": Rate(max_calls=10, window=64), "*:x": Rate(max_calls=9, window=65)},
    )
    spec = ToolSpec(name="expensive:x", rate_limit=Rate(max_calls=3, window=66))

    def scopes(*call: Any) -> list[tuple[str, int, float]]:
        return [(w.scope, w.max_calls, w.seconds) for w in limiter.windows(*call)]

    assert scopes("s_1", "expensive:x", ADA, spec) == [
        ("global", 1000, 60),
        ("session", 100, 61),
        ("principal", 50, 62),
        ("tenant", 70, 63),
        ("tool exp*", 10, 64),
        ("tool *:x", 9, 65),
        ("tool expensive:x", 3, 66),
    ]
    assert scopes("s_1", "cheap:y") == [("global", 1000, 60), ("session", 100, 61)]
    assert scopes(None, "cheap:x", EVE) == [
        ("global", 1000, 60),
        ("principal", 50, 62),
        ("tool *:x", 9, 65),
    ]


def test_a_session_counts_for_itself(clock: Clock) -> None:
    limiter = RateLimiter(per_session=Rate(max_calls=2, window=10), clock=clock)
    assert admitted(limiter, 5, "s_1", "a") == 2
    assert admitted(limiter, 5, "s_2", "b") == 2
    refused = limiter.allow("s_1", "c")
    assert refused.refused_by is not None
    assert (refused.refused_by.scope, refused.refused_by.max_calls) == ("session", 2)
    assert refused.retry_after == 10
    clock.now += 10
    assert admitted(limiter, 5, "s_1", "a") == 2


def test_the_global_rate_is_one_for_all(clock: Clock) -> None:
    limiter = RateLimiter(global_=Rate(max_calls=3, window=10), clock=clock)
    assert [limiter.allow(f"s_{n}", f"t{n}").allowed for n in range(4)] == [True] * 3 + [False]


def test_principals_and_tenants(clock: Clock) -> None:
    limiter = RateLimiter(
        per_principal=Rate(max_calls=2, window=10),
        per_tenant=Rate(max_calls=3, window=10),
        clock=clock,
    )
    assert admitted(limiter, 3, "s_1", "a", ADA) == 2
    # The tenant has one place left, whatever the session.
    assert admitted(limiter, 3, "s_2", "a", BOB) == 1
    refused = limiter.allow("s_3", "a", BOB).refused_by
    assert refused is not None
    assert refused.scope == "tenant"
    # Without a tenant only the principal counts; the program itself counts as nobody.
    assert admitted(limiter, 3, "s_1", "a", EVE) == 2
    assert admitted(limiter, 100, "s_1", "a") == 100


@given(
    pairs=st.lists(
        st.tuples(st.none() | st.text("a:'\\", max_size=3), st.text("a:'\\", min_size=1)),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
@example(pairs=[("a", "b:c"), ("a:b", "c")])
@example(pairs=[("a':'b", "c"), ("a", "b':'c")])
@example(pairs=[(None, "a"), ("", "a")])
@example(pairs=[(None, "a"), ("None", "a")])
def test_two_principals_never_share_a_window(pairs: list[tuple[str | None, str]]) -> None:
    limiter = RateLimiter(per_principal=Rate(max_calls=1, window=10))
    for tenant, name in pairs:
        assert limiter.allow("s_1", "a", Principal(id=name, tenant=tenant)).allowed


def test_a_pattern_of_tools_is_one_window(clock: Clock) -> None:
    limiter = RateLimiter(
        per_tool={
            "expensive:*": {"max_calls": 3, "window": 10},
            "expensive:b": Rate(max_calls=1, window=10),
        },
        clock=clock,
    )
    assert limiter.allow("s_1", "expensive:a").allowed
    assert limiter.allow("s_2", "expensive:b").allowed
    refused = limiter.allow("s_2", "expensive:b")
    assert refused.refused_by is not None
    assert refused.refused_by.scope == "tool expensive:b"
    assert limiter.allow("s_2", "expensive:c").allowed
    refused = limiter.allow("s_1", "expensive:d")
    assert refused.refused_by is not None
    assert refused.refused_by.scope == "tool expensive:*"
    assert admitted(limiter, 50, "s_1", "cheap") == 50


def test_a_refused_call_counts_nowhere(clock: Clock) -> None:
    limiter = RateLimiter(
        global_=Rate(max_calls=3, window=10),
        per_session=Rate(max_calls=3, window=10),
        per_tool={"a": Rate(max_calls=1, window=10)},
        clock=clock,
    )
    assert admitted(limiter, 100, "s_1", "a") == 1
    assert admitted(limiter, 100, "s_1", "b") == 2


def test_retry_after_is_when_all_have_room(clock: Clock) -> None:
    limiter = RateLimiter(
        global_=Rate(max_calls=1, window=5),
        per_tool={"a": Rate(max_calls=1, window=20)},
        clock=clock,
    )
    assert limiter.allow("s_1", "a")
    clock.now += 2
    assert limiter.allow("s_1", "a").retry_after == 18
    assert limiter.allow("s_1", "b").retry_after == 3


def test_every_wrong_rate_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        RateLimiter(
            global_={"max_calls": 0, "window": 60},
            per_session={"max_calls": 1, "windowMs": 60000},
            per_principal={},
            per_tool={"a:*": {"max_calls": 1, "window": -1}, "b": 7},  # type: ignore[dict-item]
        )
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [
        "global_.max_calls",
        "per_session.window",
        "per_session.windowMs",
        "per_principal.max_calls",
        "per_principal.window",
        "per_tool.a:*.window",
        "per_tool.b",
    ]
    with pytest.raises(ConfigError, match=r"rate limits: per_tool\.a\[: pattern 'a\['"):
        RateLimiter(per_tool={"a[": Rate(max_calls=1, window=1)})
    with pytest.raises(ConfigError, match="on_error is 'ignore'"):
        RateLimiter(on_error="ignore")  # type: ignore[arg-type]


# Against a model that remembers every admission

quarters = st.integers(1, 16).map(lambda count: count / 4)
rates = st.builds(Rate, max_calls=st.integers(1, 4), window=quarters)
patterns = st.sampled_from(["*", "a", "b", "a*", "{a,b}"])
principals = st.sampled_from([None, ADA, BOB, EVE])
calls = st.tuples(
    st.integers(0, 6).map(lambda count: count / 4),
    st.sampled_from(["s_1", "s_2"]),
    st.sampled_from(["a", "ab", "b", "c"]),
    principals,
)


@settings(max_examples=150, deadline=None)
@given(
    scopes=st.fixed_dictionaries(
        {},
        optional={
            "global_": rates,
            "per_session": rates,
            "per_principal": rates,
            "per_tenant": rates,
        },
    ),
    per_tool=st.dictionaries(patterns, rates, max_size=3),
    calls=st.lists(calls, max_size=40),
)
def test_it_admits_what_the_model_admits(
    scopes: dict[str, Rate],
    per_tool: dict[str, Rate],
    calls: list[tuple[float, str, str, Principal | None]],
) -> None:
    clock = Clock()
    limiter = RateLimiter(**scopes, per_tool=per_tool, clock=clock)
    log: list[tuple[float, str, str, Principal | None]] = []

    def room_at(rate: Rate, counted: list[float]) -> float:
        """When fewer than max_calls are in the window that ends then."""
        inside = sorted(at for at in counted if at > clock.now - rate.window)
        excess = len(inside) - rate.max_calls
        return clock.now if excess < 0 else inside[excess] + rate.window

    for passed, session, tool, who in calls:
        clock.now += passed
        free = [clock.now]
        for name, rate in scopes.items():
            if name == "global_":
                free.append(room_at(rate, [at for at, *_ in log]))
            elif name == "per_session":
                free.append(room_at(rate, [at for at, s, _, _ in log if s == session]))
            elif who is not None and name == "per_principal":
                free.append(room_at(rate, [at for at, _, _, w in log if w == who]))
            elif who is not None and who.tenant is not None and name == "per_tenant":
                of_tenant = [at for at, _, _, w in log if w is not None and w.tenant == who.tenant]
                free.append(room_at(rate, of_tenant))
        for text, rate in per_tool.items():
            if Pattern(text).matches(tool):
                free.append(room_at(rate, [at for at, _, t, _ in log if Pattern(text).matches(t)]))
        answer = limiter.allow(session, tool, who)
        assert answer.allowed == (max(free) == clock.now)
        if answer.allowed:
            log.append((clock.now, session, tool, who))
        else:
            assert isinstance(answer.refused_by, Window)
            assert clock.now + answer.retry_after == max(free)
