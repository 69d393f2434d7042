"""Secrets are blotted out of texts and of JSON, which stays JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enclave_broker_core.redaction import BLOT, SHORTEST, Redactor


def redactor_of(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    return redactor


def test_nothing_is_blotted_out_before_a_secret_is_known() -> None:
    redactor = Redactor()
    assert not redactor.active
    assert redactor.text("hunter2hunter2") == "hunter2hunter2"
    text, value = b'"hunter2hunter2"', ["hunter2hunter2"]
    assert redactor.json(text) is text
    assert redactor.value(value) == value


def test_every_place_in_a_text() -> None:
    redactor = redactor_of("s3cr3t-value")
    assert redactor.active
    assert redactor.text("s3cr3t-value, again s3cr3t-values3cr3t-value") == (
        f"{BLOT}, again {BLOT}{BLOT}"
    )
    assert redactor.text("S3CR3T-VALUE s3cr3t") == "S3CR3T-VALUE s3cr3t"


def test_short_values_are_left() -> None:
    redactor = redactor_of("x" * (SHORTEST - 1), "", "1")
    assert not redactor.active
    redactor.add("y" * SHORTEST)
    assert redactor.text("1" + "x" * 7 + "y" * 8) == "1" + "x" * 7 + BLOT


def test_the_longest_of_several_goes_first() -> None:
    for values in (("password", "password-of-ada"), ("password-of-ada", "password")):
        redactor = redactor_of(*values)
        assert redactor.text("password-of-ada password-of-bob") == f"{BLOT} {BLOT}-of-bob"


@pytest.mark.parametrize(
    "secret", ['with "quotes"', "back\\slash\\", "two\nlines\tof it", "pässword €"]
)
def test_a_value_as_json_writes_it(secret: str) -> None:
    redactor = redactor_of(secret)
    for text in (json.dumps([secret]), json.dumps([secret], ensure_ascii=False)):
        assert json.loads(redactor.json(text.encode())) == [BLOT]
        assert redactor.text(f"the body was {text}") == f'the body was ["{BLOT}"]'
    assert redactor.value({"a": f"<{secret}>"}) == {"a": f"<{BLOT}>"}


def test_json_that_is_escaped_in_another_way() -> None:
    redactor = redactor_of("https://token")
    for text in (rb'"https:\/\/token"', rb'"\u0068ttps://token"', rb'"https:\u002F\u002ftoken"'):
        assert redactor.json(text) == b'"[secret]"'


@pytest.mark.parametrize(
    ("value", "blotted"),
    [
        ({"pin": 12345678}, {"pin": BLOT}),
        ({"pin": 912345678.5}, {"pin": BLOT}),
        ([1234567, 12345679], [1234567, 12345679]),
        ({"12345678": 1}, {BLOT: 1}),
        ("12345678", BLOT),
        ("a\n1234567x", "a\n1234567x"),
        ([True, None, 1.5], [True, None, 1.5]),
    ],
)
def test_numbers_and_names_of_members(value: Any, blotted: Any) -> None:
    redactor = redactor_of("12345678")
    assert json.loads(redactor.json(json.dumps(value).encode())) == blotted
    assert redactor.value(value) == blotted


def test_what_looks_like_a_secret_together_with_its_escape() -> None:
    """The text holds a backslash and n1234567, the value a new line and 1234567."""
    redactor = redactor_of("n1234567")
    assert json.loads(redactor.json(rb'["a\n1234567"]')) in (["a\n1234567"], BLOT)


def test_a_secret_that_is_json_itself_and_was_read() -> None:
    account = '{"user":"ada","key":["k1","k2"]}'
    redactor = redactor_of(account)
    assert redactor.value({"text": account}) == {"text": BLOT}
    assert redactor.value({"account": json.loads(account), "n": 1}) == {"account": BLOT, "n": 1}
    # What was an object stays one: it may be the arguments of a call.
    assert redactor.value(json.loads(account)) == {BLOT: BLOT}


letters = 'ab1"\\\n€,:'
secrets = st.text(letters, min_size=SHORTEST, max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.text(letters, max_size=12)
        | st.lists(inner, max_size=3)
        | st.dictionaries(st.text(letters, max_size=12), inner, max_size=3)
    ),
    max_leaves=8,
)


def texts_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in texts_of(item))]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    return [value if isinstance(value, str) else json.dumps(value)]


@settings(max_examples=120, deadline=None)
@given(known=st.lists(secrets, min_size=1, max_size=3), value=values, data=st.data())
@example(known=["11111111"], value={"a": 111111111}, data=None)
@example(known=['","a":"b"'], value={"x": "y", "a": "b"}, data=None)
@example(known=['"a":"b"}]'], value=[[{"a": "b"}]], data=None)
def test_no_secret_is_left_and_json_stays_json(known: list[str], value: Any, data: Any) -> None:
    redactor = redactor_of(*known)
    if data is not None:
        secret = data.draw(st.sampled_from(known))
        value = data.draw(
            st.sampled_from([value, [value, secret], {secret: value}, {"a": f"b{secret}a"}])
        )
    before = json.dumps(value, separators=(",", ":"), ensure_ascii=data is None)
    text = redactor.json(before.encode())
    left = json.loads(text)
    for secret in known:
        assert all(secret not in found for found in texts_of(left))
        assert secret not in text.decode()
        assert secret not in redactor.text(f"b{secret}a{secret}")
    assert texts_of(redactor.value(value)) == texts_of(left)
    assert json.loads(before) == value
    if not any(secret in found for secret in known for found in [before, *texts_of(value)]):
        assert left == json.loads(before)
