"""JSON texts as values, and texts that are no JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave_broker_core.json_form import NotJsonError, parse


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"NaN", "not JSON"),
        (b"[1, Infinity]", "not JSON"),
        (b'"\xff"', "not JSON"),
        ('"half \ud83d"', "not JSON"),
        (b"[" * 1000, "not JSON"),
        (b"1" * 4301, "not JSON"),
        (b"1e999", r"a number is too large$"),
        (b'{"a": {"b": [0, -1e999]}}', r"a number is too large \(at a.b.1\)"),
    ],
)
def test_what_is_not_json(text: bytes | str, said: str) -> None:
    with pytest.raises(NotJsonError, match=said):
        parse(text)


@given(junk=st.binary(max_size=30) | st.text(max_size=30))
def test_reading_anything_gives_a_json_value_or_says_that_it_is_none(junk: bytes | str) -> None:
    try:
        value = parse(junk)
    except NotJsonError:
        return
    assert json.loads(junk) == value
