"""Secrets are also blotted out where they were encoded: in base64 and in URLs."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_secrets import IN_URLS, holds, in_base64

from enclave_broker_core.redaction import BLOT, KEPT, KEPT_UNNAMED, SHORTEST, Redactor

SECRET = "s3cr3t v@lue/+€"


def redactor_of(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    return redactor


@pytest.mark.parametrize("how", IN_URLS)
def test_a_value_in_a_url_is_blotted_out_and_nothing_else(how: str) -> None:
    redactor = redactor_of(SECRET)
    url = f"https://a.example/b?key={IN_URLS[how](SECRET)}&c=%20d"
    assert redactor.text(url) == f"https://a.example/b?key={BLOT}&c=%20d"
    assert json.loads(redactor.json(json.dumps([url]).encode())) == [redactor.text(url)]


@pytest.mark.parametrize("secret", ["hunter2-hunter2", "hunter2-hunter22", "hunter2-hunter222"])
def test_a_value_in_base64_by_itself_is_blotted_out_with_its_padding(secret: str) -> None:
    redactor = redactor_of(secret)
    for text in in_base64("", secret, ""):
        assert redactor.text(f"[{text}]") in (f"[{BLOT}]", f"[{BLOT}%3D]", f"[{BLOT}%3D%3D]")


def test_basic_credentials() -> None:
    for user in ("a", "ad", "ada", "adam"):
        credentials = base64.b64encode(f"{user}:hunter2-hunter2".encode()).decode()
        text = redactor_of("hunter2-hunter2").text(f"Authorization: Basic {credentials}, denied")
        head, _, tail = text.partition(BLOT)
        assert head.startswith("Authorization: Basic ")
        assert credentials.startswith(head.removeprefix("Authorization: Basic "))
        assert tail == ", denied"
        # What is left is the user's, and at most the half of the secret's first byte.
        left = head.removeprefix("Authorization: Basic ")
        assert len(left) * 6 <= len(f"{user}:") * 8 + 4


def test_fragments_and_other_texts_are_left() -> None:
    redactor = redactor_of("hunter2-hunter2")
    whole = base64.b64encode(b"hunter2-hunter2").decode()
    for text in (
        whole[:9],
        whole[:18],
        whole.lower(),
        "%68%75%6e",
        base64.b64encode(b"no").decode(),
    ):
        assert redactor.text(text) == text
    assert redactor_of("short").text(base64.b64encode(b"short").decode() * 3) == "c2hvcnQ=" * 3


@pytest.mark.parametrize("length", [8, 30, 57])
def test_the_longest_of_several_goes_first_in_every_form(length: int) -> None:
    short = ("password/" * 9)[:length]
    long = f"{short}-of-ada"
    for values in ((short, long), (long, short)):
        redactor = redactor_of(*values)
        for value in values:
            for how, encode in IN_URLS.items():
                assert redactor.text(f"<{encode(value)}>") == f"<{BLOT}>", how
            for text in in_base64("", value, ""):
                assert redactor.text(f"<{text}>").replace("%3D", "") == f"<{BLOT}>"


def test_a_percent_sign_and_a_backslash_that_are_left_as_they_are() -> None:
    redactor = redactor_of("50%25 off\\all")
    assert redactor.text("?key=50%25%20off%5Call&") == f"?key={BLOT}&"
    assert redactor.text("?key=50%2525%20off\\all&") == f"?key={BLOT}&"
    assert redactor.json(rb'"?key=50%2525%20off\\all&"') == f'"?key={BLOT}&"'.encode()


def test_a_long_value_goes_as_a_whole() -> None:
    secret = "".join(f"{number:x}/" for number in range(9_000))
    redactor = redactor_of(secret)
    for text in (*in_base64("", secret, ""), *(encode(secret) for encode in IN_URLS.values())):
        blotted = redactor.text(f"<{text}>").replace("%3D", "")
        assert blotted == f"<{BLOT}>"
    within = redactor.text(next(in_base64("user:", secret, ":and more")))
    assert len(within) < 40


def test_of_a_secret_the_newest_values_are_kept() -> None:
    redactor = Redactor()
    values = [f"rotated-value-{number:03}" for number in range(KEPT + 2)]
    redactor.add("the-value-of-another", "ANOTHER")
    for value in values:
        redactor.add(value, "TOKEN")
        assert redactor.text(values[0]) == BLOT
        redactor.add(values[0], "TOKEN")  # still in use
    for value in [values[0], *values[-KEPT + 1 :], "the-value-of-another"]:
        assert redactor.text(f"<{value}>") == f"<{BLOT}>"
    assert redactor.text(values[1]) == values[1]


def test_values_without_a_name_are_bounded_too() -> None:
    redactor = Redactor()
    redactor.add("the-value-with-a-name", "TOKEN")
    for number in range(KEPT_UNNAMED + 1):
        redactor.add(f"value-{number:04}")
    assert redactor.text("value-0000 value-0001 value-1000") == f"value-0000 {BLOT} {BLOT}"
    assert redactor.text("the-value-with-a-name") == BLOT


def test_a_value_that_looks_encoded_takes_no_time_that_grows_with_its_powers() -> None:
    for hostile in ("%25" * 400, "\\" * 400, "+ " * 400, "%2525" * 400):
        redactor = redactor_of(hostile + "x")
        text = hostile * 3 + "y"
        assert redactor.text(text) == text


characters = st.sampled_from("abAB01 +/%-_=&.~*'\"\\\n€") | st.characters(codec="utf-8")
secrets = st.text(characters, min_size=SHORTEST, max_size=70)
around = st.text(characters, max_size=5)


@given(value=secrets, before=around, after=around, encode=st.sampled_from(sorted(IN_URLS)))
def test_no_url_keeps_a_value(value: str, before: str, after: str, encode: str) -> None:
    redactor = redactor_of(value)
    text = f"{before}?{IN_URLS[encode](value)}&{after}"
    blotted = redactor.text(text)
    assert BLOT in blotted
    assert not holds(blotted, value)
    in_json = json.loads(redactor.json(json.dumps({"url": text}).encode()))
    assert not holds(in_json["url"], value)
    assert BLOT in in_json["url"]


@given(value=secrets, before=around, after=around, data=st.data())
def test_no_base64_keeps_a_value(value: str, before: str, after: str, data: st.DataObject) -> None:
    redactor = redactor_of(value)
    text = data.draw(st.sampled_from(list(in_base64(before, value, after))))
    blotted = redactor.text(f"({text})")
    assert BLOT in blotted
    assert not holds(blotted, value)
    # Of a text this long, nothing that the secret alone decides is left.
    assert len(blotted) <= len(f"({text})") - len(value.encode()) * 8 // 6 + 2 + len(BLOT)


@given(value=secrets, text=st.text(characters, max_size=60), data=st.binary(max_size=60))
def test_a_text_without_a_value_stays_as_it_is(value: str, text: str, data: bytes) -> None:
    redactor = redactor_of(value)
    for other in (text, quote(text), base64.b64encode(data).decode(), quote_from_bytes(data)):
        if not holds(other, value):
            assert redactor.text(other) == other
