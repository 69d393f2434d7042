"""What a filter lets through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from enclave_broker_server import filters
from enclave_broker_server.filters import parse_filter

from enclave_broker_core import events as wire
from enclave_broker_core.events import Event

SESSION = "s_1"
TYPES = [
    "session_init",
    "stdout",
    "log",
    "tool_call",
    "tool_progress",
    "tool_result_applied",
    "partial_result",
    "heartbeat",
    "error",
    "deadline_exceeded",
    "catalog_changed",
    "final",
]


def event(type: str, payload: Any = None, seq: int = 7) -> Event:
    text = json.dumps({} if payload is None else payload, separators=(",", ":"), ensure_ascii=False)
    return Event(SESSION, seq, type, text.encode())


def seen(given: Any) -> list[str]:
    """The types that are let through."""
    wanted = parse_filter(given)
    return [type for type in TYPES if wanted.allows(event(type))]


def matches(pattern: dict[str, Any], subject: Event) -> bool:
    rule = {"content": {"patterns": [pattern]}}
    included = parse_filter({"mode": "include", "rules": [rule], "alwaysAllow": []})
    excluded = parse_filter({"mode": "exclude", "rules": [rule], "alwaysAllow": []})
    assert included.allows(subject) is not excluded.allows(subject)
    return included.allows(subject)


def types(*named: str) -> dict[str, Any]:
    return {"types": {"types": list(named)}}


def content(*patterns: dict[str, Any], match: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"patterns": list(patterns)}
    return {"content": found if match is None else found | {"match": match}}


def exact(field: str, pattern: str) -> dict[str, Any]:
    return {"type": "exact", "pattern": pattern, "field": field}


# Modes, rules and what is always allowed


def test_include_lets_through_what_matches_and_what_is_always_allowed() -> None:
    given = {"mode": "include", "rules": [types("stdout"), types("log", "error")]}
    assert seen(given) == ["session_init", "stdout", "log", "heartbeat", "error", "final"]


def test_exclude_lets_through_what_does_not_match() -> None:
    hidden = {"stdout", "session_init", "final", "heartbeat"}
    given = {"mode": "exclude", "rules": [types(*hidden)]}
    assert seen(given) == [type for type in TYPES if type != "stdout"]


def test_a_list_of_what_is_always_allowed_replaces_the_usual_one() -> None:
    given = {"mode": "include", "rules": [types("log")], "alwaysAllow": ["error"]}
    assert seen(given) == ["log", "heartbeat", "error", "final"]
    given = {"mode": "exclude", "rules": [types("log", "error")], "alwaysAllow": ["error"]}
    assert seen(given) == [type for type in TYPES if type != "log"]


@pytest.mark.parametrize("rules", [[{}], [types(*TYPES)], []])
def test_final_and_heartbeats_can_not_be_filtered_away(rules: list[Any]) -> None:
    mode = "exclude" if rules else "include"
    assert seen({"mode": mode, "rules": rules, "alwaysAllow": []}) == ["heartbeat", "final"]
    beat = wire.heartbeat(SESSION, 3, 1.0)
    assert parse_filter({"mode": mode, "rules": rules, "alwaysAllow": []}).allows(beat)


def test_without_rules_nothing_matches() -> None:
    assert seen({"mode": "include", "rules": []}) == ["session_init", "heartbeat", "final"]
    assert seen({"mode": "exclude", "rules": []}) == TYPES


def test_an_empty_rule_matches_everything_and_empty_lists_nothing() -> None:
    assert seen({"mode": "include", "rules": [{}]}) == TYPES
    least = ["session_init", "heartbeat", "final"]
    assert seen({"mode": "include", "rules": [types()]}) == least
    assert seen({"mode": "include", "rules": [content()]}) == least
    assert seen({"mode": "include", "rules": [content(match="all")]}) == TYPES


def test_null_is_as_if_it_were_not_there() -> None:
    pattern = {"type": "exact", "pattern": "{}", "field": None}
    given = {
        "mode": "include",
        "rules": [
            {"types": None, "content": {"patterns": [pattern]}},
            {"content": None, **types()},
        ],
        "alwaysAllow": None,
    }
    assert seen(given) == TYPES


def test_types_and_content_of_a_rule_must_both_match() -> None:
    rule = types("log") | content(exact("payload.level", "warn"))
    wanted = parse_filter({"mode": "include", "rules": [rule]})
    assert wanted.allows(event("log", {"level": "warn"}))
    assert not wanted.allows(event("log", {"level": "info"}))
    assert not wanted.allows(event("error", {"level": "warn"}))


def test_any_or_all_patterns() -> None:
    patterns = exact("payload.level", "warn"), exact("payload.message", "disk")
    one, both = event("log", {"level": "warn"}), event("log", {"level": "warn", "message": "disk"})
    none = event("log", {"level": "info", "message": "net"})
    for match, expected in ((None, [1, 1, 0]), ("any", [1, 1, 0]), ("all", [0, 1, 0])):
        wanted = parse_filter({"mode": "include", "rules": [content(*patterns, match=match)]})
        assert [wanted.allows(subject) for subject in (one, both, none)] == expected


def test_the_stock_clients_time_for_a_regex_is_no_mistake() -> None:
    given = {"mode": "include", "rules": [types("log")], "regexTimeoutMs": 100}
    assert seen(given) == ["session_init", "log", "heartbeat", "final"]


# Patterns and fields

CALL = event("tool_call", {"callId": "c_1", "toolName": "users:get", "args": {"id": 1}})


@pytest.mark.parametrize(
    ("type", "pattern", "expected"),
    [
        ("exact", "users:get", True),
        ("exact", "users:", False),
        ("exact", "USERS:get", False),
        ("prefix", "users:", True),
        ("prefix", "", True),
        ("prefix", "sers", False),
        ("regex", "r..:g", False),
        ("regex", "rs:g", True),
        ("regex", "^users:(get|list)$", True),
        ("regex", "^get", False),
        ("glob", "users:*", True),
        ("glob", "*:[a-g]e?", True),
        ("glob", "{users,groups}:get", True),
        ("glob", "users", False),
        ("glob", "USERS:*", False),
    ],
)
def test_each_type_of_pattern(type: str, pattern: str, expected: bool) -> None:
    given = {"type": type, "pattern": pattern, "field": "payload.toolName"}
    assert matches(given, CALL) is expected


@pytest.mark.parametrize("type", ["exact", "prefix", "regex", "glob"])
def test_case_counts_unless_it_is_said_not_to(type: str) -> None:
    given = {"type": type, "pattern": "ÜbeR.1", "field": "payload.a"}
    subject = event("log", {"a": "üBEr.1"})
    assert not matches(given, subject)
    assert not matches(given | {"caseInsensitive": False}, subject)
    assert matches(given | {"caseInsensitive": True}, subject)
    assert not matches(given | {"caseInsensitive": True}, event("log", {"a": "uber.1"}))
    if type != "regex":  # a dot is a dot
        assert not matches(given | {"caseInsensitive": True}, event("log", {"a": "überx1"}))


def test_without_a_field_it_is_the_whole_payload_as_json() -> None:
    text = '{"callId":"c_1","toolName":"users:get","args":{"id":1}}'
    for given in (
        {"type": "exact", "pattern": text},
        {"type": "prefix", "pattern": '{"callId":"c_'},
        {"type": "glob", "pattern": '*"id":1*'},
        {"type": "regex", "pattern": '"id":1}}$'},
    ):
        assert matches(given, CALL)
        assert matches(given | {"field": "payload"}, CALL)
        assert matches(given | {"field": ""}, CALL)
    assert not matches({"type": "exact", "pattern": "tool_call"}, CALL)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("type", "partial_result"),
        ("seq", "7"),
        ("sessionId", SESSION),
        ("protocolVersion", "2"),
        ("payload.path.0", "run"),
        ("payload.path.1", "r_1"),
        ("payload.path", '["run","r_1"]'),
        ("payload.hasNext", "false"),
        ("payload.data", '{"a":null,"0":1.5,"ü":"é"}'),
        ("payload.data.a", "null"),
        ("payload.data.0", "1.5"),
        ("payload.data.ü", "é"),
    ],
)
def test_a_field_is_a_path_from_the_event(field: str, text: str) -> None:
    data = {"a": None, "0": 1.5, "ü": "é"}
    subject = event("partial_result", {"path": ["run", "r_1"], "data": data, "hasNext": False})
    assert matches(exact(field, text), subject)
    assert not matches(exact(field, f"{text} "), subject)


@pytest.mark.parametrize(
    "field",
    [
        "toolName",
        "payload.nope",
        "payload.path.2",
        "payload.path.-1",
        "payload.path.00",
        "payload.path.¹",
        "payload.path.length",
        "payload.text.0",
        "payload.text.length",
        "payload.nothing.a",
        "type.0",
        "__class__",
        "payload_json",
    ],
)
@pytest.mark.parametrize("type", ["prefix", "regex"])
def test_a_field_that_is_missing_does_not_match(field: str, type: str) -> None:
    subject = event("log", {"path": ["run", "r"], "text": "text", "nothing": None})
    assert not matches({"type": type, "pattern": "", "field": field}, subject)


def test_a_payload_is_not_parsed_for_types_nor_as_a_whole_and_else_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[bytes] = []
    real = filters.from_json
    monkeypatch.setattr(filters, "from_json", lambda text: (parsed.append(text), real(text))[1])
    both = types("stdout") | content(exact("payload.chunk", "x"))
    whole = {"type": "regex", "pattern": "x"}
    wanted = parse_filter({"mode": "exclude", "rules": [types("log"), both, content(whole)]})
    assert not wanted.allows(event("log"))
    assert not wanted.allows(event("error", {"message": "x"}))
    assert wanted.allows(event("error", {"message": "y"}))
    assert parsed == []
    many = content(*[exact(f"payload.{name}", "x") for name in ("chunk", "a", "chunk", "b.c")])
    wanted = parse_filter({"mode": "exclude", "rules": [both, many, many]})
    subject = event("stdout", {"chunk": "y"})
    assert wanted.allows(subject)
    assert parsed == [subject.payload_json]
