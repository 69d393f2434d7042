"""What is no filter, and how that is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from enclave_broker_server.answers import HttpError
from enclave_broker_server.filters import InvalidFilterError, parse_filter


def types(*named: str) -> dict[str, Any]:
    return {"types": {"types": list(named)}}


def content(*patterns: dict[str, Any], match: str = "any") -> dict[str, Any]:
    return {"content": {"patterns": list(patterns), "match": match}}


def patterned(**changed: Any) -> dict[str, Any]:
    good = {"type": "exact", "pattern": "x"}
    rules = [{}, content(good, good | changed)]
    return {"mode": "include", "rules": rules}


PATTERN = "filter.rules[1].content.patterns[1]"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "filter: must be an object"),
        ([], "filter: must be an object"),
        ("{}", "filter: must be an object"),
        ({}, "filter.mode: is missing; filter.rules: is missing"),
        ({"mode": "only", "rules": []}, "filter.mode: Input should be 'include' or 'exclude'"),
        ({"mode": "include", "rules": {}}, "filter.rules: Input should be a valid list"),
        ({"mode": "include", "rules": [], "always_allow": []}, "filter.always_allow: is not known"),
        ({"mode": "include", "rules": [], "alwaysAllow": ["x"]}, "filter.alwaysAllow[0]: Input"),
        ({"mode": "include", "rules": [types("x")]}, "filter.rules[0].types.types[0]: Input"),
        ({"mode": "include", "rules": [{"types": ["log"]}]}, "filter.rules[0].types: must be an"),
        ({"mode": "include", "rules": [content(match="x")]}, "filter.rules[0].content.match: Inp"),
        ({"mode": "include", "rules": [{}] * 51}, "filter.rules: List should have at most 50"),
        (patterned(type="like"), f"{PATTERN}.type: Input should be 'exact', 'prefix', 'regex' or"),
        (patterned(pattern=1), f"{PATTERN}.pattern: Input should be a valid string"),
        (patterned(pattern="x" * 513), f"{PATTERN}.pattern: String should have at most 512"),
        (patterned(pattern="\ud800"), "filter: JSON can't hold it"),
        ({"mode": "include", "rules": [], "x": "y" * 65_536}, "filter: larger than 65536 bytes"),
        ({str(number): 1 for number in range(50_000)}, "filter: larger than 65536 bytes"),
        (patterned(caseInsensitive=1), f"{PATTERN}.caseInsensitive: Input should be a valid bool"),
        (patterned(case_insensitive=True), f"{PATTERN}.case_insensitive: is not known here"),
        (patterned(flags="i"), f"{PATTERN}.flags: is not known here"),
        (patterned(field="x" * 257), f"{PATTERN}.field: String should have at most 256"),
        (patterned(field="."), f"{PATTERN}.field: must be at most 32 names"),
        (patterned(field="payload..a"), f"{PATTERN}.field: must be at most 32 names"),
        (patterned(field="a" + ".a" * 32), f"{PATTERN}.field: must be at most 32 names"),
        (patterned(type="glob", pattern="[a"), f"{PATTERN}.pattern: pattern '[a' has an empty or"),
        (patterned(type="glob", pattern=""), f"{PATTERN}.pattern: a pattern can't be empty"),
        (patterned(type="regex", pattern="(a"), f"{PATTERN}.pattern: is not a regular expression"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(given: Any, message: str) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        parse_filter(given)
    assert caught.value.message.startswith(message)
    assert caught.value.code == "INVALID_FILTER"
    json.dumps(caught.value.to_wire()).encode()


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(\w+) \1", r"invalid escape sequence: \1 (there are no back-references)"),
        (r"(?P<a>x)\k<a>", r"invalid escape sequence: \k (there are no back-references)"),
        ("a(?=b)", "invalid perl operator: (?= (there is no look-ahead and no look-behind)"),
        ("a(?!b)", "invalid perl operator: (?! (there is no look-ahead and no look-behind)"),
        ("(?<=a)b", "invalid perl operator: (?<= (there is no look-ahead and no look-behind)"),
        ("[b-a]", "invalid character class range: b-a"),
    ],
)
def test_what_re2_can_not_do_is_said(
    pattern: str, reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        parse_filter(patterned(type="regex", pattern=pattern))
    assert caught.value.message == (
        f"{PATTERN}.pattern: is not a regular expression of RE2: {reason}"
    )
    assert capfd.readouterr() == ("", "")  # the library would write it out


def test_mistakes_are_told_at_once() -> None:
    bad = {"type": "regex", "pattern": "("}
    with pytest.raises(InvalidFilterError) as caught:
        parse_filter({"mode": "include", "rules": [content(bad), {}, content({}, bad)]})
    fields = [item["field"] for item in caught.value.details]
    # The shapes come first; patterns are read when all of them are right.
    assert fields == [f"filter.rules[2].content.patterns[0].{key}" for key in ("type", "pattern")]
    with pytest.raises(InvalidFilterError) as caught:
        parse_filter({"mode": "include", "rules": [content(bad), {}, content(bad, bad)]})
    assert [item["field"] for item in caught.value.details] == [
        f"filter.rules[{place}].pattern"
        for place in ("0].content.patterns[0", "2].content.patterns[0", "2].content.patterns[1")
    ]


def test_not_more_is_told_than_there_is_use_for() -> None:
    bad = {"type": "regex", "pattern": "("}
    for many, count in (
        ([content(*[bad] * 100)], 5),
        ([content({}) for _ in range(50)], 20),
        ([{"x" * 999: 1}] * 50, 20),
    ):
        with pytest.raises(InvalidFilterError) as caught:
            parse_filter({"mode": "include", "rules": many})
        assert len(caught.value.details) == count
        assert len(caught.value.message) < 10_000


def test_it_is_a_bad_request_over_http() -> None:
    with pytest.raises(InvalidFilterError) as caught:
        parse_filter({})
    refused = HttpError.of(caught.value)
    assert (refused.status, refused.code) == (400, "INVALID_FILTER")
    assert refused.message == caught.value.message
