"""What is found in texts, and where it is blotted out."""

from __future__ import annotations

import copy
import re
import string
from typing import Any

import pytest
from enclave_broker_middleware.redact import LARGE, Redact, RedactConfig
from enclave_broker_middleware.sensitive import blotter, passes_luhn
from hypothesis import given
from hypothesis import strategies as st
from middleware_calls import Answers, call, spec
from pydantic import ValidationError

from enclave_broker_core import ArgumentsError, RateLimitedError, ToolError

pytestmark = pytest.mark.anyio

CARD = "4111 1111 1111 1111"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"


def redact(**config: Any) -> Redact:
    return Redact(RedactConfig.model_validate(config))


@pytest.mark.parametrize(
    ("text", "blotted"),
    [
        ("write to ada.l+x@mail.example.org, please", "write to [email], please"),
        ("josé@exämple.org", "[email]"),
        ("not@home and @handle and a@", "not@home and @handle and a@"),
        ("call +44 20 7946 0958 now", "call [phone] now"),
        ("+1 (555) 123-4567", "[phone]"),
        ("555-123-4567 or (555) 123-4567", "[phone] or [phone]"),
        ("030 1234567", "[phone]"),
        ("2026-11-24 10:30, 192.168.10.1, 1234567", "2026-11-24 10:30, 192.168.10.1, 1234567"),
        (f"card {CARD}.", "card [credit_card]."),
        ("4111-1111-1111-1111 123", "[credit_card] 123"),
        ("12 4111111111111111", "12 [credit_card]"),
        ("378282246310005", "[credit_card]"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("0000000000000000", "0000000000000000"),
        ("41111111111111111111", "41111111111111111111"),
        (f"token {JWT}!", "token [token]!"),
        ("Authorization: Bearer abcdefghijklmnop1234==", "Authorization: [token]"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[token]"),
        ("sk-proj-abcdefghijklmnop1234", "[token]"),
        ("AKIAIOSFODNN7EXAMPLE", "[token]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- x", "[token] x"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "[token]"),
        ("é☃ a@b.cd ☃ c@d.ef", "é☃ [email] ☃ [email]"),
    ],
)  # fmt: skip
def test_what_is_known(text: str, blotted: str) -> None:
    assert redact().redacted(text) == blotted
    assert redact(kinds=[]).redacted(text) == text


def test_what_is_configured() -> None:
    middleware = redact(kinds=[], patterns={"order": r"\bORD-\d{4}\b", "shout": "(?i)hello"})
    assert middleware.redacted("ORD-1234, HeLLo, ORD-12345") == "[order], [shout], ORD-12345"


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        ({"a": "(?=x)"}, "patterns.a is not a regular expression of RE2"),
        ({"a": "("}, "patterns.a is not a regular expression of RE2"),
        ({"a": "x*"}, "patterns.a finds the empty text"),
        ({"A b": "x"}, "String should match pattern"),
    ],
)
def test_a_pattern_that_can_not_be_used_is_told_at_the_start(
    patterns: dict[str, str], said: str
) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        redact(patterns=patterns)


def test_no_text_makes_it_slow() -> None:
    """With an engine that goes back, one of these would take for ever."""
    middleware = redact(patterns={"evil": r"(a+)+b"})
    for text in ("a" * 40_000, "a@" * 20_000, "1 " * 10_000, "eyJ" * 10_000, "+1" * 10_000):
        assert middleware.redacted(text + "!") == text + "!"


def test_in_all_that_a_value_holds() -> None:
    value = {
        "list": ["a@b.cd", [{"deep": "x a@b.cd"}]],
        "a@b.cd": 1,
        "c@d.ef": 2,
        "card": 4111111111111111,
        "number": 4111111111111112,
        "secret": {"any": "thing"},
        "rows": [{"pin": 1}, {"pin": 2, "id": 7}, 3],
        "others": [None, True, 1.5, 10**40],
    }
    before = copy.deepcopy(value)
    assert redact(pointers=["/secret", "/rows/*/pin"]).redacted(value) == {
        "list": ["[email]", [{"deep": "x [email]"}]],
        "[email]": 1,
        "[email] 1": 2,
        "card": "[credit_card]",
        "number": 4111111111111112,
        "secret": "[redacted]",
        "rows": [{"pin": "[redacted]"}, {"pin": "[redacted]", "id": 7}, 3],
        "others": [None, True, 1.5, 10**40],
    }
    assert value == before


def test_a_name_that_is_there_already_is_kept() -> None:
    assert redact().redacted({"a@b.cd": 1, "[email]": 2}) == {"[email] 1": 1, "[email]": 2}


TEXTS = st.text(st.sampled_from(string.digits + " -@.ab/"), max_size=60)


def obvious_cards(text: str) -> list[str]:
    """The slow way: all that begins and ends with a group of digits and passes."""
    found = []
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 1):
            part = text[start:end]
            inside = start == 0 or not text[start - 1].isdigit()
            inside &= end == len(text) or not text[end].isdigit()
            if inside and re.fullmatch(r"[0-9](?:[ \-]?[0-9]){12,18}", part):
                digits = re.sub(r"\D", "", part)
                if 13 <= len(digits) <= 19 and passes_luhn(digits):
                    found.append(part)
    return found


@given(TEXTS | st.from_regex(r"(?:[0-9]{1,6}[ \-]?){3,8}", fullmatch=True))
def test_no_card_is_left(text: str) -> None:
    blot = blotter(["credit_card"], [])
    left = blot(text)
    assert obvious_cards(left) == []
    assert (left != text) is bool(obvious_cards(text))
    assert blot(left) == left


async def test_results_errors_and_arguments() -> None:
    middleware = redact(arguments=True, tools=["users:*"])
    below = Answers({"mail": "a@b.cd"})
    given_call = call(spec(), {"mail": "c@d.ef", "n": 1})
    assert await middleware(given_call, below) == {"mail": "[email]"}
    passed = below.calls[0]
    assert passed.args == {"mail": "[email]", "n": 1}
    assert passed.grant == []  # so access is asked again
    other = call(spec("other"), {"mail": "c@d.ef"})
    assert await middleware(other, below) == {"mail": "a@b.cd"}
    assert below.calls[1] is other


async def test_only_what_is_wanted() -> None:
    middleware, below = redact(results=False, errors=False), Answers({"mail": "a@b.cd"})
    given_call = call(spec(), {"mail": "c@d.ef"})
    assert await middleware(given_call, below) == {"mail": "a@b.cd"}
    assert below.calls[0] is given_call
    error = ToolError("no a@b.cd")
    with pytest.raises(ToolError) as caught:
        await middleware(given_call, Answers(error))
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        ToolError("there is no a@b.cd", retry_after=3),
        ArgumentsError("wrong", fields=[("mail", "no a@b.cd")]),
        RateLimitedError("a@b.cd calls too often", scope="global", limit=1, retry_after=3),
    ],
)
async def test_an_error_stays_of_its_kind(error: Any) -> None:
    before = copy.deepcopy(error.to_wire())
    with pytest.raises(type(error)) as caught:
        await redact()(call(spec()), Answers(error))
    assert error.to_wire() == before
    assert "a@b.cd" not in f"{caught.value!r} {caught.value} {caught.value.to_wire()}"
    assert caught.value.code == error.code
    assert caught.value.retry_after == error.retry_after
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_what_nobody_foresaw_is_told_without_it_too() -> None:
    with pytest.raises(ToolError, match=r"^no \[email\]$"):
        await redact()(call(spec()), Answers(ValueError("no a@b.cd")))


async def test_a_large_result_is_read_as_a_small_one_is() -> None:
    rows = ["a@b.cd " + "x" * 1000] * (LARGE // 1000 + 1)
    found = await redact()(call(spec()), Answers(rows))
    assert found == ["[email] " + "x" * 1000] * len(rows)
