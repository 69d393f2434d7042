"""A pattern for an engine that never goes back; that it means the same is tested where one is."""

from __future__ import annotations

import pytest

from enclave_broker_core.errors import ConfigError
from enclave_broker_core.patterns import MAX_PATTERN_LENGTH, Pattern, automaton_regex


@pytest.mark.parametrize(
    ("pattern", "regex"),
    [
        ("users:get", "users:get"),
        ("users.*", r"users\.\C*"),
        ("a**b", r"a\C*b"),
        ("?[a-c][!x-]", r"(?s:.)[a-c][^x\-]"),
        ("{a,b{c,}}*", r"a\C*|b\C*|bc\C*"),
    ],
)
def test_each_form_is_an_alternative(pattern: str, regex: str) -> None:
    assert automaton_regex(pattern) == regex


@pytest.mark.parametrize(
    "pattern",
    ["", "[", "a]", "[]", "[b-a]", "{a", "a}", "x" * (MAX_PATTERN_LENGTH + 1), "{a,b}" * 9],
)
def test_what_is_no_pattern_is_none_here_either(pattern: str) -> None:
    with pytest.raises(ConfigError) as known:
        Pattern(pattern)
    with pytest.raises(ConfigError) as caught:
        automaton_regex(pattern)
    assert caught.value.message == known.value.message
