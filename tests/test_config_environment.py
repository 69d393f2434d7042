"""Environment variables over the files: what they set, and how their mistakes are told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave_broker_core import check, load_plugins, open_broker, open_setup
from enclave_broker_core.config_files import read
from enclave_broker_core.overlay import value_of

pytestmark = pytest.mark.anyio


@contextmanager
def variables(**given: str) -> Iterator[None]:
    """``STORE__URL="…"`` and so on, with their prefix, for a block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(f"ENCLAVE_BROKER__{name}", value)
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "broker.toml"
    path.write_text("[store]\nmax_events = 10\n[limits]\ntimeout = 60\nmax_tool_calls = 3\n")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-0.5", -0.5),
        ("true", True),
        ("[1, 'a']", [1, "a"]),
        ('["a", # why\n"b"]', ["a", "b"]),
        ('{ role = "admin", n = [1] }', {"role": "admin", "n": [1]}),
        ('"5"', "5"),
        ("", ""),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("True", "True"),
        ("007", "007"),
        # Not only a value: nothing of it may be lost.
        ("5 # five", "5 # five"),
        ("5#five", "5#five"),
        ("1, 2", "1, 2"),
        ("1,", "1,"),
        ("1]\nother = [2", "1]\nother = [2"),
        ("[1", "[1"),
        ("1979-05-27", "1979-05-27"),
        ("07:32:00", "07:32:00"),
        ("[" * 10_000, "[" * 10_000),
    ],
)
def test_a_value_is_toml_or_else_a_text(text: str, value: Any) -> None:
    found = value_of(text)
    assert (found, type(found)) == (value, type(value))


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=20))
def test_any_text_is_a_value(text: str) -> None:
    found = value_of(text)
    if isinstance(found, str) and text.strip()[:1] not in ('"', "'"):
        assert found == text


@pytest.mark.parametrize(
    ("given", "data"),
    [
        ({"STORE__URL": "redis://a"}, {"store": {"url": "redis://a"}}),
        ({"store__url": "b"}, {"store": {"url": "b"}}),
        ({"STORE": '{ use = "a" }', "STORE__URL": "b"}, {"store": {"use": "a", "url": "b"}}),
        ({"PLUGINS": '["a"]', "PLUGINS__1": "b"}, {"plugins": ["a", "b"]}),
        (
            {"TOOLS__1__NAME": "c", "TOOLS__0__NAME": "a", "TOOLS__0__AUTH__TYPE": "b"},
            {"tools": [{"name": "a", "auth": {"type": "b"}}, {"name": "c"}]},
        ),
        (
            {f"PLUGINS__{number}": str(number) + "x" for number in range(11)},
            {"plugins": [f"{number}x" for number in range(11)]},
        ),
    ],
)
def test_double_underscores_are_levels(given: dict[str, str], data: dict[str, Any]) -> None:
    environment = {f"ENCLAVE_BROKER__{name}": value for name, value in given.items()}
    document = read(None, {**environment, "ENCLAVE_BROKER_CONFIG": "x", "OTHER__X": "y"})
    assert (document.data, document.problems) == (data, ())


def test_a_variable_changes_one_value_of_the_file_and_not_what_was_given() -> None:
    given = {"tools": [{"use": "a", "name": "one"}, {"use": "b"}], "store": {"use": "x"}}
    document = read(given, {"ENCLAVE_BROKER__TOOLS__1__NAME": "two"})
    assert document.data == {
        "tools": [{"use": "a", "name": "one"}, {"use": "b", "name": "two"}],
        "store": {"use": "x"},
    }
    assert given["tools"] == [{"use": "a", "name": "one"}, {"use": "b"}]


async def test_a_broker_from_a_file_reads_them(file: Path) -> None:
    with variables(LIMITS__TIMEOUT="5.5", SESSIONS__ADMIN_ROLES='["ops"]'):
        async with open_setup(file) as setup, setup.broker.session() as session:
            assert (session.limits.timeout, session.limits.max_tool_calls) == (5.5, 3)
            assert setup.settings.sessions.admin_roles == {"ops"}
        async with open_broker(file, environment=False) as broker, broker.session() as session:
            assert session.limits.timeout == 60


async def test_a_broker_from_a_mapping_reads_them_only_when_asked() -> None:
    config = {"limits": {"timeout": 60}}
    with variables(LIMITS__TIMEOUT="5"):
        for given in (config, [config], None):
            async with open_broker(given) as broker, broker.session() as session:
                assert session.limits.timeout == (3600 if given is None else 60)
            async with (
                open_broker(given, environment=True) as broker,
                broker.session() as session,
            ):
                assert session.limits.timeout == 5


def test_they_say_which_plugins_may_load(file: Path) -> None:
    with variables(PLUGINS="[]"):
        assert {plugin.state for plugin in load_plugins(file) if plugin.name != "core"} == {
            "not allowed"
        }
    with variables(PLUGINS__0="monty"):
        found = {plugin.name: plugin.state for plugin in load_plugins(file)}
    assert (found["monty"], found["memory"]) == ("loaded", "not allowed")


def test_they_may_hold_references(file: Path) -> None:
    with variables(LIMITS__TIMEOUT="${env:A_LIFE}"), pytest.MonkeyPatch.context() as patch:
        assert check(file) == [
            "ENCLAVE_BROKER__LIMITS__TIMEOUT: the environment variable A_LIFE is not set"
        ]
        patch.setenv("A_LIFE", "7")
        assert check(file) == []


NUMBER = "Input should be a valid number, unable to parse string as a number"


@pytest.mark.parametrize(
    ("given", "mistakes"),
    [
        ({"LIMITS__TIMEOUT": "long"}, [f"E__LIMITS__TIMEOUT: {NUMBER}"]),
        ({"LIMITS": '{ timeout = "x" }'}, [f"E__LIMITS: limits.timeout: {NUMBER}"]),
        (
            {"STOER__URL": "x"},
            ["E__STOER__URL: there is no such key; did you mean E__STORE__URL?"],
        ),
        (
            {"LIMITS__TIMEUOT": "1"},
            [
                (
                    "E__LIMITS__TIMEUOT: there is no such key;"
                    " did you mean E__LIMITS__TIMEOUT or E__LIMITS__RUN_TIMEOUT or"
                    " E__LIMITS__IDLE_TIMEOUT?"
                )
            ],
        ),
        (
            {"STORE__MAX_EVENT": "1"},
            [
                (
                    "E__STORE__MAX_EVENT: there is no such key; did you mean"
                    " E__STORE__MAX_EVENTS or E__STORE__MAX_EVENT_BYTES or E__STORE__MAX_ENDED?"
                )
            ],
        ),
        (
            {"STORE": "{ max_evnts = 1 }"},
            [
                (
                    "E__STORE: store.max_evnts: there is no such key; did you mean"
                    " 'max_events' or 'max_event_bytes' or 'max_ended'?"
                )
            ],
        ),
        (
            {"STORE__USE": "memroy"},
            ["E__STORE__USE: there is no session store named 'memroy'; did you mean 'memory'?"],
        ),
        (
            {"STORE__USE": "5"},
            [
                (
                    "E__STORE__USE: Input should be a valid string;"
                    " a text that looks like something else needs quotes of its own"
                )
            ],
        ),
        (
            {"TOOLS__1__NAME": "x"},
            ["E__TOOLS__1__NAME: tools has 0 items; next is E__TOOLS__0"],
        ),
        (
            {"TOOLS": "[]", "TOOLS__NAME": "x"},
            ["E__TOOLS__NAME: tools is a list; its first item is E__TOOLS__0__NAME"],
        ),
        ({"TOOLS__0__USE": "python"}, ["E__TOOLS__0__USE: tools[0].module: is missing"]),
        (
            {"LIMITS__TIMEOUT__X": "1"},
            ["E__LIMITS__TIMEOUT__X: limits.timeout is a value, with nothing in it"],
        ),
        ({"LIMITS____X": "1"}, ["E__LIMITS____X: there is nothing between or behind its '__'"]),
        # All at once, behind what is wrong in the file.
        (
            {"LIMITS__TIMEOUT": "no", "STORE__GRACE": "-1", "STORE__URL__": "x"},
            [
                f"E__LIMITS__TIMEOUT: {NUMBER}",
                "E__STORE__GRACE: Input should be greater than or equal to 0",
                "E__STORE__URL__: there is nothing between or behind its '__'",
            ],
        ),
    ],
)
def test_a_mistake_has_the_name_of_its_variable(
    file: Path, given: dict[str, str], mistakes: list[str]
) -> None:
    with variables(**given):
        found = check(file)
    assert [text.replace("ENCLAVE_BROKER__", "E__") for text in found] == mistakes


def test_mistakes_of_the_file_keep_their_lines(file: Path) -> None:
    file.write_text("[store]\nmax_events = 0\n[limits]\ntimeout = 1\n")
    with variables(LIMITS__TIMEOUT="0", STORE__GRACE="5"):
        assert check(file) == [
            f"{file}:2: store.max_events: Input should be greater than or equal to 1",
            "ENCLAVE_BROKER__LIMITS__TIMEOUT: Input should be greater than 0",
        ]


def test_a_variable_that_is_right_mends_the_file(file: Path) -> None:
    file.write_text("[limits]\ntimeout = 0\n")
    assert len(check(file)) == 1
    with variables(LIMITS__TIMEOUT="5"):
        assert check(file) == []


def test_no_variable_is_read_that_is_not_meant(file: Path) -> None:
    assert not [name for name in os.environ if name.startswith("ENCLAVE_BROKER__")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENCLAVE_BROKER_LIMITS__TIMEOUT", "0")
        patch.setenv("XENCLAVE_BROKER__LIMITS__TIMEOUT", "0")
        assert check(file) == []
