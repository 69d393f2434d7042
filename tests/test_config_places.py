"""The line of everything in a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave_broker_core.config_files import read
from enclave_broker_core.errors import ConfigError
from enclave_broker_core.places import Place, Places, written

EVERYTHING = '''# a comment with [brackets] and = signs
title = "a # b" # not in the text
"quoted key" = 1
a.b.c = 2
a.b . "d e" = 3

[store]
use = "redis"
url = 'C:\\path' # literal
text = """
[not.a.table]
x = 1 \\"""
"""
raw = \'\'\'
'''
EVERYTHING += """[[nor.this]]
''it's'''
when = 1979-05-27 07:32:00
empty = []
none = {}

[access] # after
rules = [
  { pattern = "x:*", allow = true },
  # { pattern = "in a comment" }
  { pattern = "],}", unless = { role = "admin", n = [1, 2] } },
  [1,
   2],
]

[[tools]]
use = "a"
[tools.auth]
type = "bearer"
[[tools.rules]]
n = 1
[[tools.rules]]
n = 2

[[tools]]
use = "b"
  [tools.auth]
  type = "basic"

[x.y.z]
v = +inf
[x]
w = 0x_ff
"""
EVERYTHING = EVERYTHING.replace("0x_ff", "0xff")


def places_in(data: Any, place: Place = ()) -> Iterator[Place]:
    if place:
        yield place
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places_in(value, (*place, key))
    if isinstance(data, list):
        for index, value in enumerate(data):
            yield from places_in(value, (*place, index))


def line_with(text: str, nth: int = 1) -> int:
    lines = [n for n, line in enumerate(EVERYTHING.splitlines(), 1) if text in line]
    return lines[nth - 1]


def test_everything_has_a_line() -> None:
    assert set(Places(EVERYTHING).lines) == set(places_in(tomllib.loads(EVERYTHING)))


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("title",), line_with("title")),
        (("quoted key",), line_with("quoted")),
        (("a", "b", "c"), line_with("a.b.c")),
        (("a", "b", "d e"), line_with("d e")),
        (("store",), line_with("[store]")),
        (("store", "raw"), line_with("raw =")),
        (("store", "when"), line_with("when")),
        (("access", "rules"), line_with("rules = [")),
        (("access", "rules", 0, "allow"), line_with("x:*")),
        (("access", "rules", 1, "unless", "n", 1), line_with("],}")),
        (("access", "rules", 2, 1), line_with("   2],")),
        (("tools",), line_with("[[tools]]")),
        (("tools", 1), line_with("[[tools]]", 2)),
        (("tools", 0, "auth", "type"), line_with("bearer")),
        (("tools", 1, "auth"), line_with("[tools.auth]", 2)),
        (("tools", 0, "rules", 1, "n"), line_with("n = 2")),
        (("x",), line_with("[x]")),
        (("x", "y", "z", "v"), line_with("inf")),
    ],
)
def test_line_of(place: Place, line: int) -> None:
    assert Places(EVERYTHING).lines[place] == line


def test_what_is_not_there_has_the_line_of_what_it_is_missing_in() -> None:
    places = Places(EVERYTHING)
    assert places.line(("store", "password")) == line_with("[store]")
    assert places.line(("nothing",)) is None
    assert places.line(()) is None


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (("access", "rules", 1, "pattern"), "access.rules[1].pattern"),
        (("rate_limit", "per_tool", "x:*", "window"), 'rate_limit.per_tool."x:*".window'),
        (("a", 'with "quotes"'), 'a."with \\"quotes\\""'),
        ((), ""),
    ],
)
def test_written(place: Place, text: str) -> None:
    assert written(place) == text


keys = st.from_regex(r"[a-z][a-z_-]{0,5}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)


def quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(char):08X}" for char in text) + '"'


def literal(text: str) -> str:
    plain = "".join(char for char in text if char.isprintable() and char != "'")
    return f"'{plain}'"


scalars = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    texts.map(quoted),
    texts.map(literal),
    st.dates().map(str),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[ # [\n" + ",\n".join(items) + "\n]"),
        st.dictionaries(keys, inner.filter(lambda text: "\n" not in text), max_size=3).map(
            lambda table: "{" + ", ".join(f"{k} = {v}" for k, v in table.items()) + "}"
        ),
    ),
    max_leaves=6,
)
tables = st.dictionaries(
    keys, st.one_of(st.dictionaries(keys, values, max_size=4)), min_size=1, max_size=4
)


@given(tables, st.data())
def test_any_file_has_a_line_for_everything(tables: dict[str, Any], data: st.DataObject) -> None:
    text = ""
    for name, table in tables.items():
        times = data.draw(st.integers(0, 2))
        for _ in range(max(1, times)):
            text += f"[[{name}]]\n" if times else f"[{name}]\n"
            text += "".join(f"{key} = {value} # end\n" for key, value in table.items())
    lines = Places(text).lines
    assert set(lines) == set(places_in(tomllib.loads(text)))
    for place, line in lines.items():
        key = place[-1]
        if isinstance(key, str):
            assert key in text.splitlines()[line - 1]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb = \n", 2), ("a = 1\n[b\n", 2), ("a = 1\na = 2\n", 2), ("[a]\nb = [1,\n2", 3)],
)
def test_what_is_not_toml_is_told_with_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="this is not TOML") as raised:
        read(path)
    assert raised.value.message.startswith(f"{path}:{line}: ")


def test_what_is_not_utf8_is_told_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(ConfigError) as raised:
        read(path)
    assert raised.value.message == f"{path}:2: this is not UTF-8, as TOML is"


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration file"):
        read(tmp_path / "none.toml")


def test_windows_line_ends_do_not_shift_lines(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_bytes(b"[store]\r\n# c\r\nurl = 1\r\n")
    assert read(path).origin(("store", "url")).line == 3
