"""The catalog: snapshots swapped whole, external names, and who may offer which name."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enclave_broker_core import Broker, ConfigError, ToolRouter, ToolSpec, UnknownToolError
from enclave_broker_core.patterns import Pattern
from enclave_broker_core.registry import Catalog, Registry, external_names
from enclave_broker_core.routing import Route

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Named:
    """A tool that answers with a word."""

    spec: ToolSpec
    word: str = ""

    def validate(self, arguments_json: bytes) -> Any:
        return None

    def dump(self, arguments: Any) -> Mapping[str, Any]:
        return {}

    async def invoke(self, arguments: Any, context: Any) -> Any:
        return self.word

    def __len__(self) -> int:  # a tool may be false
        return 0


def named(name: str, word: str = "") -> Named:
    return Named(ToolSpec(name=name), word)


def names_in(catalog: Catalog) -> list[str]:
    return [spec.name for spec in catalog.specs()]


# Snapshots


def test_a_snapshot_never_changes() -> None:
    registry = Registry()
    registry.add("mine", named("a"))
    before = registry.current
    registry.add("mine", named("b"))
    registry.remove("mine", "a")
    registry.add_route(Route(Pattern("x*"), named("x*")))
    after = registry.current
    assert (names_in(before), names_in(after)) == (["a"], ["b"])
    assert before.find("a") is not None
    assert (before.find("b"), before.find("xy")) == (None, None)
    assert (after.find("a"), dict(after.external)) == (None, {"b": "b"})
    assert after.find("xy") is not None
    assert after.version > before.version
    for mapping in (after.tools, after.external, after.external_of):
        with pytest.raises(TypeError):
            mapping["c"] = mapping["b"]  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        after.version = 0  # type: ignore[misc]


def test_without_a_change_the_snapshot_is_the_same() -> None:
    registry = Registry()
    registry.add("mine", named("a"))
    current = registry.current
    assert registry.remove("mine", "b") is False
    registry.withdraw("nobody")
    with pytest.raises(ConfigError):
        registry.add("mine", named("a"))
    assert registry.current is current


def test_listeners_hear_of_each_change_with_both_catalogs() -> None:
    registry, heard = Registry(), []
    registry.add("mine", named("a"))
    registry.on_change(lambda old, new: heard.append((names_in(old), names_in(new))))
    registry.add("mine", named("b"))
    registry.publish("other", [named("c"), named("d")])
    registry.publish("other", [named("d")])
    registry.remove("mine", "a")
    registry.remove("mine", "a")
    registry.withdraw("other")
    assert heard == [
        (["a"], ["a", "b"]),
        (["a", "b"], ["a", "b", "c", "d"]),
        (["a", "b", "c", "d"], ["a", "b", "d"]),
        (["a", "b", "d"], ["b", "d"]),
        (["b", "d"], ["b"]),
    ]


def test_ten_thousand_tools_one_by_one_make_one_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    known = Registry._rebuild

    def counted(registry: Registry) -> None:
        nonlocal made
        made += 1
        known(registry)

    monkeypatch.setattr(Registry, "_rebuild", counted)
    registry = Registry()
    for number in range(10_000):
        registry.add("mine", named(f"t:{number}"))
    assert made == 0
    assert len(registry.current.tools) == 10_000
    assert registry.current.find("t:9999") is not None
    assert made == 1


# Who may offer a name


def test_two_sources_cannot_offer_one_name() -> None:
    registry = Registry()
    registry.publish("one", [named("a"), named("b"), named("p:*")])
    for offered in ([named("b"), named("c")], [named("p:*")]):
        with pytest.raises(ConfigError, match=r"two and one both offer '(b|p:\*)'"):
            registry.publish("two", offered)
    with pytest.raises(ConfigError, match="two and one both offer 'a'"):
        registry.add("two", named("a"))
    assert names_in(registry.current) == ["a", "b"]
    registry.publish("one", [named("a")])
    registry.publish("two", [named("b"), named("p:*")])
    assert names_in(registry.current) == ["a", "b"]


def test_one_source_cannot_offer_a_name_twice() -> None:
    registry = Registry()
    with pytest.raises(ConfigError, match="one offers two tools named 'a'"):
        registry.publish("one", [named("a"), named("a")])
    registry.add("one", named("a"))
    with pytest.raises(ConfigError, match=r"there is a tool named 'a' already; remove_tool\('a'\)"):
        registry.add("one", named("a"))


@pytest.mark.parametrize("name", ["a", "a:*"])
def test_a_route_and_a_tool_cannot_have_one_name(name: str) -> None:
    registry = Registry()
    registry.add_route(Route(Pattern(name), named(name)))
    again = Route(Pattern(name), named(name))
    for attempt in (
        lambda: registry.add_route(again),
        lambda: registry.add("one", named(name)),
        lambda: registry.publish("one", [named(name)]),
    ):
        with pytest.raises(ConfigError, match="has a handler already"):
            attempt()
    assert registry.remove("one", name)
    registry.publish("one", [named(name)])
    with pytest.raises(ConfigError, match="has a handler already"):
        registry.add_route(again)
    assert registry.current.find(name) is not None


def test_a_malformed_pattern_is_refused_and_changes_nothing() -> None:
    registry = Registry()
    registry.add("one", named("a"))
    for attempt in (registry.publish, registry.add):
        with pytest.raises(ConfigError, match="unfinished"):
            attempt("one", [named("b[")] if attempt == registry.publish else named("b["))  # type: ignore[arg-type]
    assert names_in(registry.current) == ["a"]


def test_a_tool_of_a_pattern_is_a_route_and_in_no_list() -> None:
    registry = Registry()
    registry.publish("one", [named("a:*", "wide"), named("a:b", "exact")])
    catalog = registry.current
    assert names_in(catalog) == ["a:b"]
    assert [catalog.find(name).word for name in ("a:b", "a:c")] == ["exact", "wide"]  # type: ignore[union-attr]
    assert catalog.find("b") is None
    assert registry.remove("one", "a:*")
    assert registry.current.find("a:c") is None


# External names

parts = st.sampled_from(["a", "b", "_", ":", "/", ".", "-", "a_b", "x" * 30, "y" * 62])
tool_names = st.lists(parts, min_size=1, max_size=5).map("".join)
tool_names = tool_names.filter(lambda name: re.fullmatch(r"[A-Za-z0-9_].{0,127}", name) is not None)


@settings(max_examples=120, deadline=None)
@given(names=st.sets(tool_names, max_size=12), seed=st.integers())
@example(names={"a:b", "a/b", "a_b"}, seed=1)
@example(names={"x" * 65, "x" * 66, "x" * 64, "x" * 63 + ":"}, seed=1)
def test_external_names_fit_and_are_one_to_one(names: set[str], seed: int) -> None:
    external = external_names(names)
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,64}", outer) for outer in external)
    assert sorted(external.values()) == sorted(names)
    for name in names:
        if re.fullmatch("[A-Za-z0-9_-]{1,64}", name):
            assert external[name] == name
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)
    assert external_names(shuffled) == external


def test_a_name_made_to_look_like_anothers_takes_it_from_nobody() -> None:
    (suffixed,) = set(external_names(["a:b", "a_b"])) - {"a_b"}
    assert re.fullmatch("a_b_[0-9a-f]{8}", suffixed)
    names = ["a:b", "a_b", suffixed]
    external = external_names(names)
    assert external[suffixed] == suffixed
    (longer,) = (outer for outer, own in external.items() if own == "a:b")
    assert longer.startswith(suffixed)
    assert sorted(external.values()) == sorted(names)


def test_a_collision_changes_only_those_that_collide() -> None:
    before = external_names(["a:b", "c:d"])
    assert before == {"a_b": "a:b", "c_d": "c:d"}
    after = external_names(["a:b", "c:d", "a/b"])
    assert after["c_d"] == "c:d"
    assert len(after) == 3


async def test_both_names_route() -> None:
    broker = Broker(tools={"users:get": lambda: "got", "a_b": lambda: "plain"})
    assert broker.has_tool("users_get")
    async with broker, broker.session(allowed_tools=["users:*"]) as session:
        assert await session.call("users:get") == await session.call("users_get") == "got"
        assert set(await session.visible_tools()) == {"users_get"}
        history = await session.history()
        assert [record.tool for record in history] == ["users:get", "users:get"]


# Under way


async def test_a_call_in_flight_finishes_on_the_tool_it_began_with() -> None:
    broker, begun, go_on = Broker(), anyio.Event(), anyio.Event()
    answers: list[Any] = []

    @broker.tool("a")
    async def old() -> str:
        begun.set()
        await go_on.wait()
        return "old"

    async with broker, broker.session() as session:

        async def ask() -> None:
            answers.append(await session.call("a"))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
                await begun.wait()
                assert broker.remove_tool("a")
                with pytest.raises(UnknownToolError):
                    await session.call("a")
                broker.tools({"a": lambda: "new"})
                assert await session.call("a") == "new"
                go_on.set()
        assert answers == ["old"]


async def test_a_provider_changes_its_tools_while_calls_run() -> None:
    class Provider:
        def __init__(self) -> None:
            self.next: list[Sequence[Named]] = []
            self.go = anyio.Event()
            self.published = anyio.Event()

        async def tools(self) -> Sequence[Named]:
            return [named("p:a", "first"), named("p:b", "first")]

        async def watch(self, publish: Any) -> None:
            await self.go.wait()
            await publish([named("p:b", "second"), named("p:c", "second")])
            self.published.set()

    provider = Provider()
    async with Broker(providers={"p": provider}) as broker, broker.session() as session:
        assert [await session.call(name) for name in ("p:a", "p:b")] == ["first", "first"]
        with anyio.fail_after(10):
            provider.go.set()
            await provider.published.wait()
        assert [await session.call(name) for name in ("p:b", "p:c")] == ["second", "second"]
        with pytest.raises(UnknownToolError):
            await session.call("p:a")


async def test_a_router_in_a_broker() -> None:
    router = ToolRouter()
    router.register("db:*", lambda name, args: [name, args])
    router.register("db:exact", lambda name, args: "exact")
    broker = Broker(tools=router)
    with pytest.raises(ConfigError, match="'db:exact' has a handler already"):
        broker.tools({"db:exact": lambda: "other"})
    assert broker.list_tools() == []
    async with broker, broker.session() as session:
        assert await session.call("db:query", {"sql": "x"}) == ["db:query", {"sql": "x"}]
        assert await session.call("db:exact") == "exact"
        assert broker.remove_tool("db:*")
        with pytest.raises(UnknownToolError):
            await session.call("db:query")
        assert await session.call("db:exact") == "exact"
