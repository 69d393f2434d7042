"""Any filter decides as a slow, obvious reading of the wire page does."""

from __future__ import annotations

import json
import re
from typing import Any

from enclave_broker_server.filters import parse_filter
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave_broker_core.events import Event
from enclave_broker_core.patterns import Pattern

TYPES = ["session_init", "stdout", "log", "heartbeat", "final"]


def decides(wanted: dict[str, Any], event: dict[str, Any]) -> bool:
    if event["type"] in ("final", "heartbeat"):
        return True
    if event["type"] in wanted.get("alwaysAllow", ["session_init", "final"]):
        return True
    matched = any(rule_matches(rule, event) for rule in wanted["rules"])
    return matched if wanted["mode"] == "include" else not matched


def rule_matches(rule: dict[str, Any], event: dict[str, Any]) -> bool:
    if "types" in rule and event["type"] not in rule["types"]["types"]:
        return False
    if "content" not in rule:
        return True
    results = [pattern_matches(pattern, event) for pattern in rule["content"]["patterns"]]
    return all(results) if rule["content"].get("match") == "all" else any(results)


def pattern_matches(given: dict[str, Any], event: dict[str, Any]) -> bool:
    value: Any = event
    for key in given.get("field", "payload").split("."):
        if isinstance(value, list) and key in [str(index) for index in range(len(value))]:
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            return False
    text, pattern = value if isinstance(value, str) else compact(value), given["pattern"]
    if given.get("caseInsensitive", False):
        text, pattern = text.lower(), pattern.lower()
    if given["type"] == "exact":
        return text == pattern
    if given["type"] == "prefix":
        return text.startswith(pattern)
    if given["type"] == "glob":
        return Pattern(pattern).matches(text)
    return re.search(pattern, text) is not None


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# Few letters, so that patterns match often. `$` and `\n` differ between the engines.
words = st.text(st.sampled_from("aAbé"), max_size=3)
keys = st.sampled_from(["a", "b", "0", "1"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 20) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
roots = st.sampled_from(["payload"] * 6 + ["type", "seq", "sessionId", "protocolVersion", "a"])
fields = st.builds(lambda root, rest: ".".join([root, *rest]), roots, st.lists(keys, max_size=3))
globs = st.lists(
    st.sampled_from(["*", "?", "a", "B", "[ab]", "{a,é}", '"']), min_size=1, max_size=4
)
regexes = st.lists(
    st.sampled_from(["a", "b+", "[ab]", "(a|é)", ".", ".*", '"', "^", "b?"]), max_size=4
)
kinds = st.one_of(
    st.tuples(st.sampled_from(["exact", "prefix"]), words | values.map(compact)),
    st.tuples(st.just("glob"), globs.map("".join)),
    st.tuples(st.just("regex"), regexes.map("".join)),
)
patterns = st.builds(
    lambda kind, rest: {"type": kind[0], "pattern": kind[1], **rest},
    kinds,
    st.fixed_dictionaries({}, optional={"field": fields, "caseInsensitive": st.booleans()}),
)
type_lists = st.lists(st.sampled_from(TYPES), max_size=3)
rules = st.fixed_dictionaries(
    {},
    optional={
        "types": st.fixed_dictionaries({"types": type_lists}),
        "content": st.fixed_dictionaries(
            {"patterns": st.lists(patterns, max_size=3)},
            optional={"match": st.sampled_from(["any", "all"])},
        ),
    },
)
chosen = st.fixed_dictionaries(
    {"mode": st.sampled_from(["include", "exclude"]), "rules": st.lists(rules, max_size=3)},
    optional={"alwaysAllow": type_lists},
)
payloads = st.dictionaries(keys, values, max_size=4)


@settings(max_examples=200)
@given(chosen, st.lists(st.tuples(st.sampled_from(TYPES), payloads), min_size=1, max_size=4))
def test_a_filter_decides_as_the_model_does(
    wanted: dict[str, Any], happened: list[tuple[str, dict[str, Any]]]
) -> None:
    chooses = parse_filter(json.loads(json.dumps(wanted)))
    for seq, (type, payload) in enumerate(happened, 1):
        event = Event("s_1", seq, type, compact(payload).encode())
        assert chooses.allows(event) is decides(wanted, json.loads(event.to_json()))
