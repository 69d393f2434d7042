"""The tree of errors: its codes, its wire form, and that it can be copied and sent."""

from __future__ import annotations

import copy
import json
import pickle
from collections import Counter
from collections.abc import Iterator

import pytest

import enclave_broker_core
from enclave_broker_core import errors
from enclave_broker_core.errors import (
    ArgumentsError,
    BrokerError,
    CallError,
    ConfigError,
    RateLimitedError,
    RuntimeBusyError,
    SessionError,
    ToolError,
    TooManySessionsError,
)

CODES = [
    "UNKNOWN_TOOL",
    "VALIDATION_ERROR",
    "ACCESS_DENIED",
    "APPROVAL_REQUIRED",
    "RATE_LIMITED",
    "TOOL_TIMEOUT",
    "DEADLINE_EXCEEDED",
    "MAX_TOOL_CALLS",
    "RESULT_TOO_LARGE",
    "SESSION_NOT_FOUND",
    "SESSION_ENDED",
    "SESSION_CANCELLED",
    "SESSION_EXPIRED",
    "SESSION_LOST",
    "TOO_MANY_SESSIONS",
    "STORE_UNAVAILABLE",
    "LIMITER_UNAVAILABLE",
    "CALL_NOT_FOUND",
    "ALREADY_ANSWERED",
    "KEY_REUSED",
    "TOO_MANY_CLAIMS",
    "STILL_UNDER_WAY",
    "RUNTIME_BUSY",
    "SECRET_ERROR",
    "TOOL_ERROR",
    "RUNTIME_ERROR",
    "PLUGIN_ERROR",
    "CONFIG_ERROR",
]


def tree(kind: type[BrokerError] = BrokerError) -> Iterator[type[BrokerError]]:
    """Every kind that this distribution defines."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from tree(below)


def sample(kind: type[BrokerError]) -> BrokerError:
    if kind is RateLimitedError:
        return RateLimitedError("full", scope="session", limit=5, retry_after=1.5, used=6)
    if kind is ArgumentsError:
        return ArgumentsError("wrong", fields=[("a.b", "is missing"), ("", "no object")])
    if kind is ConfigError:
        return ConfigError("two mistakes", problems=["one", "two"])
    return kind("it failed", details=[{"type": "upstream_info", "statusCode": 502}], retry_after=2)


samples = [pytest.param(sample(kind), id=kind.__name__) for kind in tree()]


def test_every_code_is_there_exactly_once() -> None:
    own = Counter(kind.code for kind in tree() if "code" in vars(kind))
    assert [code for code in CODES if own[code] != 1] == []
    assert max(own.values()) == 1
    assert set(own) - set(CODES) == {"INTERNAL_ERROR", "SESSION_EXISTS", "MAILBOX_FULL"}


def test_only_the_branches_have_no_code_of_their_own() -> None:
    assert {kind for kind in tree() if "code" not in vars(kind)} == {CallError, SessionError}


def test_every_kind_is_public() -> None:
    private = [kind for kind in tree() if kind.__name__ not in enclave_broker_core.__all__]
    assert private == []


def test_what_is_worth_another_try() -> None:
    assert {kind.code for kind in tree() if kind.retryable} == {
        "RATE_LIMITED",
        "TOOL_TIMEOUT",
        "TOO_MANY_SESSIONS",
        "TOO_MANY_CLAIMS",
        "STILL_UNDER_WAY",
        "STORE_UNAVAILABLE",
        "LIMITER_UNAVAILABLE",
        "RUNTIME_BUSY",
    }


@pytest.mark.parametrize("error", samples)
def test_the_wire_form(error: BrokerError) -> None:
    wire = error.to_wire()
    assert json.loads(json.dumps(wire, allow_nan=False)) == wire
    assert wire["code"] == type(error).code
    assert wire["message"] == error.message == str(error)
    assert wire.keys() <= {"code", "message", "details"}
    assert wire.get("details") != []


def test_without_details_there_are_none_on_the_wire() -> None:
    assert ToolError("no").to_wire() == {"code": "TOOL_ERROR", "message": "no"}


def test_a_time_to_come_back() -> None:
    assert TooManySessionsError("full", retry_after=1.2341).to_wire()["details"] == [
        {"type": "retry_info", "retryDelayMs": 1235}  # never too early
    ]
    assert RuntimeBusyError("busy", retry_after=-1).details == (
        {"type": "retry_info", "retryDelayMs": 0},
    )
    never = RuntimeBusyError("busy", retry_after=float("inf"))
    assert (never.details, never.retry_after) == ((), float("inf"))


def test_wrong_fields() -> None:
    error = ArgumentsError("wrong", fields=[("a.b", "is missing"), ("", "is no object")])
    assert error.fields == (("a.b", "is missing"), ("", "is no object"))
    assert error.to_wire()["details"] == [
        {"type": "validation_info", "field": "a.b", "reason": "is missing"},
        {"type": "validation_info", "field": "", "reason": "is no object"},
    ]


def test_a_full_window() -> None:
    error = RateLimitedError("full", scope="tool a:*", limit=5, retry_after=0.5)
    assert (error.scope, error.limit, error.retry_after) == ("tool a:*", 5, 0.5)
    assert error.to_wire()["details"] == [
        {"type": "quota_info", "limit": 5, "used": 5},
        {"type": "retry_info", "retryDelayMs": 500},
    ]
    assert RateLimitedError("full", scope="s", limit=5, retry_after=1, used=9).details[0] == {
        "type": "quota_info",
        "limit": 5,
        "used": 9,
    }


def test_mistakes_of_a_configuration() -> None:
    assert ConfigError("one").problems == ("one",)
    assert ConfigError("two", problems=["a", "b"]).problems == ("a", "b")


def test_changing_the_wire_form_changes_no_error() -> None:
    error = sample(ToolError)
    error.to_wire()["details"][0]["statusCode"] = 0
    assert error.to_wire()["details"][0]["statusCode"] == 502


@pytest.mark.parametrize("error", samples)
def test_copies_and_pickles_are_the_same_error(error: BrokerError) -> None:
    error.add_note("seen")
    for other in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert other is not error
        assert str(other) == str(error)
        assert vars(other) == vars(error)
        assert other.to_wire() == error.to_wire()


def test_a_message_is_always_a_text_that_json_can_hold() -> None:
    error = ToolError("half \ud83d, whole 😀")
    assert json.loads(json.dumps(error.to_wire(), ensure_ascii=False).encode())["message"] == (
        "half ?, whole 😀"
    )
