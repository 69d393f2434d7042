"""A configuration's mistakes: all at once, each with its place, never with a secret."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave_broker_core import check
from enclave_broker_core.config import Config
from enclave_broker_core.references import expand

WHOLE: dict[str, Any] = {
    "plugins": ["memory", "monty"],
    "block_plugins": ["x"],
    "optional_plugins": ["otel"],
    "secrets": [{"use": "env"}],
    "store": {"use": "memory", "grace": 5.0, "max_events": 10},
    "access": {
        "use": "rules",
        "default": "deny",
        "rules": [
            {"pattern": "public:*", "allow": True},
            {"pattern": "admin:*", "allow": False, "unless": {"role": "admin"}},
        ],
    },
    "rate_limit": {
        "global": {"max_calls": 1000, "window": 60.0},
        "per_session": {"max_calls": 100, "window": 60.0},
        "per_tool": {"expensive:*": {"max_calls": 10, "window": 60.0}},
        "backend": {"use": "memory"},
        "on_error": "allow",
    },
    "limits": {"timeout": 30.0, "max_tool_calls": 10},
    "sessions": {"max_concurrent": 5, "max_per_principal": 2, "admin_roles": ["admin"]},
    "tools": [{"use": "python", "name": "mine", "module": "mine.py"}],
    "middleware": [{"use": "logging", "level": "debug"}],
    "runtime": {"use": "monty"},
    "audit": {"to": "file", "path": "audit.jsonl", "sync": True},
    "sinks": [{"use": "audit", "to": "stdout"}],
    "logging": {"format": "json", "level": "info"},
}


def test_the_whole_has_no_mistakes() -> None:
    assert check(WHOLE) == []


def test_nothing_has_no_mistakes() -> None:
    assert check(None) == []
    assert check({}) == []


def test_all_mistakes_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broker.toml"
    path.write_text(
        """
[access]
defalt = "deny"
rules = [
  { pattern = "public:*", allow = true },
  { patern = "admin:*", allow = false, unless = {} },
]

[[middleware]]
use = "loging"

[rate_limit]
globl = { max_calls = 1, window = 1 }
per_session = { max_calls = 0, window = 60 }
per_tool."a[" = { max_calls = 1, window = 1 }

[[tools]]
use = "python"

[limits]
timeout = "long"
idle = 3

[stoer]
""".lstrip()
    )
    assert check(path) == [
        f"{path}:2: access.defalt: there is no such key; did you mean 'default'?",
        f"{path}:5: access.rules[1].pattern: is missing",
        (
            f"{path}:5: access.rules[1].unless: is empty: it would always hold;"
            " leave it out or say what must hold"
        ),
        f"{path}:5: access.rules[1].patern: there is no such key; did you mean 'pattern'?",
        (
            f"{path}:9: middleware[0].use: there is no middleware named 'loging';"
            " did you mean 'logging'?"
        ),
        f"{path}:12: rate_limit.globl: there is no such key; did you mean 'global'?",
        f"{path}:13: rate_limit.per_session.max_calls: Input should be greater than or equal to 1",
        f"{path}:14: rate_limit.per_tool: pattern 'a[' has an empty or unfinished '[' set",
        f"{path}:16: tools[0].module: is missing",
        (
            f"{path}:20: limits.timeout: Input should be a valid number,"
            " unable to parse string as a number"
        ),
        f"{path}:21: limits.idle: there is no such key; did you mean 'idle_timeout'?",
        f"{path}:23: stoer: there is no such key; did you mean 'store'?",
    ]


@pytest.mark.parametrize(
    ("config", "mistake"),
    [
        ({"store": {"uze": "memory"}}, "store.uze: there is no such key; there are: grace,"),
        ({"store": {"use": 5}}, "store.use: Input should be a valid string"),
        ({"middleware": ["logging"]}, "middleware[0]: Input should be"),
        ({"middleware": [{"level": "debug"}]}, "middleware[0].use: is missing"),
        ({"audit": {}}, 'audit: to = "file" needs a path'),
        ({"plugins": ["a["]}, "plugins: pattern 'a['"),
        ({"plugins": "memory"}, "plugins: Input should be a valid tuple"),
        ({"access": [{"rules": []}, {"defalt": 1}]}, "access[1].defalt: there is no such key"),
        (
            {"tools": [{"use": "python", "module": "a"}, {"use": "python", "module": "b"}]},
            "tools[1]: tools[0] is named 'python' too; give one another name",
        ),
        (
            {"runtime": [{"use": "monty"}, {"use": "monty"}]},
            "runtime[1]: runtime[0] is named 'monty' too; give one another name",
        ),
        (
            {"access": {"rules": [{"pattern": "*", "allow": "maybe"}]}},
            'access.rules[0].allow: can be true, false or "ask"',
        ),
    ],
)
def test_a_mistake_in_a_mapping_has_its_path(config: dict[str, Any], mistake: str) -> None:
    (found,) = check(config)
    assert found.startswith(mistake)


def test_one_table_and_several_mean_the_same() -> None:
    one = Config.model_validate({"access": {"default": "ask"}, "runtime": {"use": "monty"}})
    many = Config.model_validate({"access": [{"default": "ask"}], "runtime": [{"use": "monty"}]})
    assert one == many
    assert one.access[0].use == "rules"
    assert one.runtime[0].own_name == "monty"


def test_python_may_say_global_with_an_underscore() -> None:
    rate = {"max_calls": 1, "window": 1}
    by_either = [
        Config.model_validate({"rate_limit": {key: rate}}) for key in ("global", "global_")
    ]
    assert by_either[0] == by_either[1]
    assert by_either[0].rate_limit.global_ is not None


# References


ENVIRONMENT = {"HOST": "h", "EMPTY": "", "PORT": "6379"}


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("${env:HOST}", "h"),
        ("redis://${env:HOST}:${env:PORT}/0", "redis://h:6379/0"),
        ("${env:NONE:-default}", "default"),
        ("${env:EMPTY:-default}", "default"),
        ("${env:EMPTY}", ""),
        ("${env:HOST:-default}", "h"),
        ("${env:NONE:-}", ""),
        ("${env:NONE:-a:-b}", "a:-b"),
        ("$${env:HOST}", "${env:HOST}"),
        ("$$${env:HOST}", "$${env:HOST}"),
        ("$5 {x} $", "$5 {x} $"),
        ("${secret:KEY}!", "sesame!"),
    ],
)
def test_references(text: str, becomes: str) -> None:
    expanded = expand({"a": [text]}, ENVIRONMENT, {"KEY": "sesame"}.__getitem__)
    assert expanded.data == {"a": [becomes]}
    assert expanded.mistakes == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${env:NONE}", "the environment variable NONE is not set"),
        ("${HOST}", "'${HOST}' is no reference"),
        ("${env:}", "'${env:}' is no reference"),
        ("${file:/x}", "'${file:/x}' is no reference"),
        ("a ${env:HOST", "a '${' has no '}'"),
    ],
)
def test_a_wrong_reference_is_a_mistake_with_its_place(text: str, said: str) -> None:
    ((place, message),) = expand({"a": {"b": [text]}}, ENVIRONMENT).mistakes
    assert place == ("a", "b", 0)
    assert message.startswith(said)


def test_a_value_that_is_not_known_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    config = {"limits": {"timeout": "${secret:T}"}, "store": {"grace": "${env:NOT_SET}"}}
    assert check(config) == ["store.grace: the environment variable NOT_SET is not set"]


def test_a_number_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRACE", "five")
    (mistake,) = check({"store": {"grace": "${env:GRACE}"}})
    assert mistake.startswith("store.grace: Input should be a valid number")
    monkeypatch.setenv("GRACE", "5")
    assert check({"store": {"grace": "${env:GRACE}"}}) == []


@pytest.mark.parametrize("key", ["plugins", "block_plugins", "optional_plugins"])
def test_what_is_read_before_the_secrets_has_none(key: str) -> None:
    assert check({key: ["${secret:X}"]}) == [
        f"{key}[0]: a secret can't stand here: this is read before secrets are"
    ]
    assert "secret" in check({"secrets": [{"use": "env", "token": "${secret:X}"}]})[0]


# Any mutation of what is right


def places(data: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    items: dict[Any, Any] = data if isinstance(data, dict) else {}
    if isinstance(data, list):
        items = dict(enumerate(data))
    for key, value in items.items():
        yield from places(value, (*place, key))


def at(data: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        data = data[key]
    return data


# Here every key is allowed, so that a new one is no mistake.
FREE = {("rate_limit", "per_tool"), ("access", "rules", 1, "unless")}
TABLES = [p for p in [(), *places(WHOLE)] if isinstance(at(WHOLE, p), dict) and p not in FREE]
# What an attribute of a caller is compared with may be anything.
VALUES = [p for p in places(WHOLE) if p[:4] != ("access", "rules", 1, "unless")]


class Odd:
    """Of no type that a configuration has, and unable to show itself."""

    def __repr__(self) -> str:
        raise RuntimeError("has no text")


def top_of(place: tuple[Any, ...]) -> str:
    return re.escape(str(place[0]))


@given(place=st.sampled_from(TABLES), key=st.text(min_size=1, max_size=9))
def test_any_unknown_key_is_told_with_its_path(place: tuple[Any, ...], key: str) -> None:
    changed = copy.deepcopy(WHOLE)
    key = f"~{key}"
    at(changed, place)[key] = 1
    mistakes = check(changed)
    assert len(mistakes) == 1
    assert "there is no such key" in mistakes[0]
    assert f"~{key[1:]}".replace('"', '\\"') in mistakes[0]
    if place:
        assert re.match(top_of(place), mistakes[0])


@given(place=st.sampled_from(VALUES), odd=st.sampled_from([Odd(), object(), 3 + 4j, b"\xff"]))
def test_any_wrong_type_is_told_with_its_path(place: tuple[Any, ...], odd: Any) -> None:
    changed = copy.deepcopy(WHOLE)
    at(changed, place[:-1])[place[-1]] = odd
    mistakes = check(changed)
    assert mistakes
    assert all(re.match(top_of(place), mistake) for mistake in mistakes)


@given(
    st.dictionaries(
        st.sampled_from(list(WHOLE)),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(st.one_of(st.text(max_size=5), st.just("use")), inner, max_size=3),
            ),
            max_leaves=5,
        ),
    )
)
def test_whatever_it_says_it_is_checked_without_another_error(config: dict[str, Any]) -> None:
    # Files and modules are not looked for: they would be those of this machine.
    config.pop("plugins", None)
    assert all(isinstance(mistake, str) for mistake in check(config))


def test_the_environment_is_that_of_the_process() -> None:
    name = next(name for name in os.environ if re.fullmatch(r"[A-Z]+", name))
    assert check({"store": {"use": f"${{env:{name}:-x}}", "grace": 1}}) != []
