"""No filter makes matching slow: what it may cost is counted, and nothing backtracks."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from enclave_broker_server import filter_patterns, filters
from enclave_broker_server.filter_patterns import Kind, compile_pattern
from enclave_broker_server.filters import (
    MAX_PROGRAM,
    MAX_STEPS,
    EventFilter,
    InvalidFilterError,
    parse_filter,
)
from hypothesis import example, given
from hypothesis import strategies as st

from enclave_broker_core.errors import ConfigError
from enclave_broker_core.events import Event
from enclave_broker_core.patterns import Pattern

MIB = 1024 * 1024


def filtering(*patterns: dict[str, Any]) -> EventFilter:
    rules = [{"content": {"patterns": list(patterns)}}]
    return parse_filter({"mode": "include", "rules": rules, "alwaysAllow": []})


def chunk(text: str) -> Event:
    return Event("s_1", 1, "stdout", json.dumps({"chunk": text}).encode())


@pytest.mark.parametrize("module", [filters, filter_patterns])
def test_pythons_own_engine_never_sees_a_pattern(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [])
        + [alias.name for alias in node.names]
    }
    assert not imported & {"re", "regex", "fnmatch", "glob", "sre_parse", "Pattern"}


def test_a_pattern_never_reaches_it_by_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pattern: str, *_: Any) -> None:
        raise AssertionError(f"{pattern!r} was compiled by re")

    monkeypatch.setattr(re, "compile", refuse)
    for kind in ("exact", "prefix", "regex", "glob"):
        for ignore_case in (False, True):
            wanted = filtering(
                {"type": kind, "pattern": "never-seen-[x]", "caseInsensitive": ignore_case}
            )
            assert not wanted.allows(chunk(""))


@pytest.mark.parametrize(
    ("kind", "pattern", "text", "expected"),
    [
        ("glob", "*a*a*a*a*b", "a" * MIB, False),
        ("glob", "*a*a*a*a*b", "a" * MIB + "b", True),
        ("glob", "*a*a*a*a*b*", "a" * MIB, False),
        ("glob", "*[ab]*[ab]*[ab]*c", "ab" * (MIB // 2), False),
        ("regex", "(a+)+$", "a" * MIB + "b", False),
        ("regex", "(a|a)*c", "a" * MIB, False),
        ("regex", "(x+x+)+y", "x" * MIB, False),
        ("regex", "^(([a-z])+.)+[A-Z]([a-z])+$", "a" * MIB, False),
        ("regex", "([ab]*a){3}$", "a" * (MIB // 4) + "b", False),
    ],
)
def test_hostile_patterns_read_all_of_a_long_text(
    kind: str, pattern: str, text: str, expected: bool
) -> None:
    wanted = filtering({"type": kind, "pattern": pattern, "field": "payload.chunk"})
    assert wanted.reach >= len(text)
    assert wanted.allows(chunk(text)) is expected


@pytest.mark.parametrize("runs", [1, 2, 4, 8, 16])
def test_the_program_of_a_glob_grows_with_its_length_only(runs: int) -> None:
    pattern = compile_pattern("glob", "*a" * runs, ignore_case=False)
    assert pattern.cost <= 8 + 4 * runs


def test_of_what_would_cost_too_much_the_beginning_is_read() -> None:
    # No automaton of a bounded size can follow this one, so that each byte costs its length.
    wanted = filtering({"type": "regex", "pattern": "[01]x[01]{900}y", "field": "payload.chunk"})
    assert 10_000 <= wanted.reach <= MAX_STEPS // 900
    found = "0x" + "01" * 450 + "y"
    padding = wanted.reach - len(found)
    assert wanted.allows(chunk("-" * padding + found))
    assert not wanted.allows(chunk("-" * (padding + 1) + found))


def test_exact_and_prefix_see_all_beside_a_costly_pattern() -> None:
    costly = {"type": "regex", "pattern": "x[01]{900}y"}
    long = "-" * MIB
    for kind in ("exact", "prefix"):
        for ignore_case in (False, True):
            given = {"type": kind, "pattern": "-" * 512, "field": "payload.chunk"}
            wanted = filtering(costly, given | {"caseInsensitive": ignore_case})
            assert wanted.allows(chunk(long)) is (kind == "prefix")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"\pL{2}", "with this one the patterns are too complex"),
        (r"((\pL{9}){9}){9}", "is not a regular expression of RE2: pattern too large"),
        ("((a{100}){100}){100}", "is not a regular expression of RE2: invalid repetition size"),
        ("a{1001}", "is not a regular expression of RE2: invalid repetition size: {1001}"),
        ("(" * 512, "is not a regular expression of RE2: missing )"),
    ],
)
def test_a_program_that_is_too_large_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        filtering({"type": "exact", "pattern": "x"}, {"type": "regex", "pattern": pattern})
    place = "filter.rules[0].content.patterns[1].pattern"
    assert caught.value.message.startswith(f"{place}: {reason}")


def test_patterns_are_bounded_together() -> None:
    letter = {"type": "regex", "pattern": "x" * 400}
    each = compile_pattern("regex", "x" * 400, ignore_case=False).cost
    most = MAX_PROGRAM // each
    assert filtering(*[letter] * most).reach == MAX_STEPS // (most * each)
    with pytest.raises(InvalidFilterError, match=rf"patterns\[{most}\].pattern: with this one"):
        filtering(*[letter] * 100)
    long = {"type": "exact", "pattern": "x" * 512}
    filtering(*[long] * 16)
    with pytest.raises(InvalidFilterError, match=r"patterns\[16\].pattern: .* longer than 8192"):
        filtering(*[long] * 17)
    word = {"type": "exact", "pattern": "x"}
    half = {"content": {"patterns": [word] * 50}}
    parse_filter({"mode": "include", "rules": [half, half]})
    with pytest.raises(InvalidFilterError, match=r"rules\[2\].content.patterns\[0\]: a filter may"):
        parse_filter({"mode": "include", "rules": [half, half, half]})


def test_globs_with_very_many_alternatives_are_refused_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[str] = []
    real = filters.compile_pattern

    def counting(kind: Kind, pattern: str, *, ignore_case: bool) -> Any:
        compiled.append(pattern)
        return real(kind, pattern, ignore_case=ignore_case)

    monkeypatch.setattr(filters, "compile_pattern", counting)
    many = {"type": "glob", "pattern": "".join(f"{{{c}x,{c}y,z{c}}}?*" for c in "abcd")}
    with pytest.raises(InvalidFilterError, match="too complex"):
        filtering(*[many] * 100)
    assert len(compiled) < 20


texts = st.text(st.sampled_from("aAbB-]^!\\ \n\0é☃😀"), max_size=12)
globs = st.text(st.sampled_from("aAb*?[]{},!-^\\. \n\0é☃😀&~#"), max_size=14)


@given(globs, st.lists(texts, max_size=5))
@example("[!a]*", ["\n", "a", "☃a", ""])
@example("*?b", ["b", "éb", "😀😀b"])
@example("{a,b*}[a-]", ["a-", "b\na", "-"])
@example("[^]", ["^", "a"])
def test_a_glob_means_what_it_means_for_tools(pattern: str, subjects: list[str]) -> None:
    try:
        known = Pattern(pattern)
    except ConfigError as problem:
        with pytest.raises(ValueError, match=re.escape(problem.message)):
            compile_pattern("glob", pattern, ignore_case=False)
        return
    found = compile_pattern("glob", pattern, ignore_case=False)
    for subject in [*subjects, pattern]:
        assert found.matches(subject.encode()) is known.matches(subject)
