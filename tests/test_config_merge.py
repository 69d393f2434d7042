"""Several files are one configuration, and each mistake is told of the file that it is in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave_broker_core import ConfigError, PluginError, check, open_broker, open_setup
from enclave_broker_core.config_files import read
from enclave_broker_core.overlay import merged

pytestmark = pytest.mark.anyio

Write = Callable[[str, str], Path]

tables = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        st.integers() | st.lists(st.integers(), max_size=2),
        lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    ),
    max_size=3,
)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def to(name: str, text: str) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return to


def leaves(data: Any, place: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(data, dict) or not data:
        return {place: data}
    return {
        key: value
        for name, inner in data.items()
        for key, value in leaves(inner, (*place, name)).items()
    }


@given(tables, tables, tables)
def test_merging(first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]) -> None:
    before = copy.deepcopy((first, second, third))
    both = merged(first, second)
    assert merged(both, second) == both
    assert merged(first, {}) == merged({}, first) == first
    assert read([first, second, third]).data == merged(both, third)
    above = leaves(second)
    for place, value in above.items():
        if value != {}:
            assert leaves(both)[place] == value
    for place, value in leaves(first).items():
        covered = any(place[: len(a)] == a or a[: len(place)] == place for a in above)
        if not covered and place:
            assert leaves(both)[place] == value
    assert (first, second, third) == before


async def test_tables_merge_and_all_else_is_replaced(write: Write) -> None:
    base = write(
        "base.toml",
        """
[limits]
timeout = 60
max_tool_calls = 5

[access]
default = "deny"
rules = [{ pattern = "a:*", allow = true }, { pattern = "b:*", allow = true }]

[rate_limit.per_tool]
"x:*" = { max_calls = 1, window = 1 }
""",
    )
    prod = write(
        "prod.toml",
        """
[limits]
timeout = 30

[access]
rules = [{ pattern = "c:*", allow = true }]

[rate_limit.per_tool]
"x:*" = { window = 9 }
"y:*" = { max_calls = 2, window = 2 }
""",
    )
    async with open_setup([base, str(prod)]) as setup:
        settings = setup.settings
        assert (settings.limits.timeout, settings.limits.max_tool_calls) == (30, 5)
        assert settings.access[0].rest == {
            "default": "deny",
            "rules": [{"pattern": "c:*", "allow": True}],
        }
        rates = settings.rate_limit.per_tool
        assert {name: (rate.max_calls, rate.window) for name, rate in rates.items()} == {
            "x:*": (1, 9),
            "y:*": (2, 2),
        }
    async with open_broker([prod, base]) as broker, broker.session() as session:
        assert session.limits.timeout == 60


async def test_files_and_mappings_together(write: Write) -> None:
    base = write("base.toml", "[limits]\ntimeout = 60\nmax_tool_calls = 5\n")
    async with (
        open_broker([base, {"limits": {"timeout": 1}}]) as broker,
        broker.session() as session,
    ):
        assert (session.limits.timeout, session.limits.max_tool_calls) == (1, 5)
    async with open_broker([]) as broker, broker.session() as session:
        assert session.limits.timeout == 3600


def test_each_mistake_is_told_of_its_file(write: Write) -> None:
    write("base.toml", '[store]\nuse = "memory"\n\n[limits]\ntimeout = 0\nidle_timeout = 0\n')
    write(
        "prod.toml",
        '[limits]\ntimeout = -1\n\n[store]\nmax_evnts = 1\n\n[[tools]]\nuse = "python"\n',
    )
    found = check(["base.toml", "prod.toml", {"sessions": {"max_concurrent": 0}}])
    assert found == [
        "base.toml:6: limits.idle_timeout: Input should be greater than 0",
        "prod.toml:2: limits.timeout: Input should be greater than 0",
        (
            "prod.toml:5: store.max_evnts: there is no such key;"
            " did you mean 'max_events' or 'max_event_bytes' or 'max_ended'?"
        ),
        "prod.toml:7: tools[0].module: is missing",
        "sessions.max_concurrent: Input should be greater than or equal to 1",
    ]


def test_an_item_is_told_of_the_file_whose_list_holds(write: Write) -> None:
    write("base.toml", '[[middleware]]\nuse = "logging"\n[[middleware]]\nuse = "nope"\n')
    write("prod.toml", '\n\n[[middleware]]\nuse = "loging"\n')
    (found,) = check(["base.toml", "prod.toml"])
    assert found.startswith("prod.toml:4: middleware[0].use: there is no middleware named 'loging'")
    (found,) = check(["prod.toml", "base.toml"])
    assert found.startswith("base.toml:4: middleware[1].use: there is no middleware named 'nope'")


async def test_the_error_names_all_files(write: Write) -> None:
    write("a.toml", "[limits]\ntimeout = 0\n")
    write("b.toml", "[limits]\nidle_timeout = 0\n")
    with pytest.raises(ConfigError, match=r"there are 2 mistakes in a\.toml, b\.toml:") as caught:
        async with open_broker(["a.toml", "b.toml"]):
            pytest.fail("it opened")
    assert len(caught.value.problems) == 2


def test_files_that_can_not_be_read_are_all_told(write: Write) -> None:
    write("good.toml", "")
    write("bad.toml", "x = 1\n=\n")
    found = check(["missing.toml", "good.toml", "bad.toml"])
    assert found[0] == "there is no configuration file missing.toml"
    assert found[1].startswith("bad.toml:2: this is not TOML: ")
    assert len(found) == 2


async def test_paths_are_relative_to_the_first_file(write: Write) -> None:
    write(
        "one/tools.py",
        "from enclave_broker_core import tool\n@tool('a:b')\ndef f() -> int:\n    return 1\n",
    )
    base = write("one/base.toml", '[[tools]]\nuse = "python"\nmodule = "missing.py"\n')
    other = write("two/other.toml", '[[tools]]\nuse = "python"\nmodule = "tools.py"\n')
    async with open_broker([base, other]) as broker, broker.session() as session:
        assert await session.call("a:b", {}) == 1
    with pytest.raises(PluginError, match=r"two/other\.toml:1: tools.*tools\.py"):
        async with open_broker([other, base, other]):
            pytest.fail("it opened")
