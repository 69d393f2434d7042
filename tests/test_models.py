"""The small immutable values: what they refuse and that they stay as they are."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from pydantic import ValidationError

from enclave_broker_core import (
    Admission,
    Decision,
    Principal,
    Rate,
    SessionLimits,
    SessionManager,
    SessionRecord,
    SessionState,
    ToolSpec,
    Verdict,
    Window,
)
from enclave_broker_core.models import Frozen


def record(**fields: Any) -> SessionRecord:
    given = {"id": "s_1", "state": SessionState.RUNNING, "created_at": 1.0, "expires_at": 2.0}
    return SessionRecord(**(given | fields))


frozen = [
    Principal(id="ada"),
    Rate(max_calls=1, window=1),
    ToolSpec(name="a"),
    record(),
    Decision(Verdict.ALLOW, "r"),
    Admission(),
    Window("k", "s", 1, 1.0),
    SessionLimits(),
]


@pytest.mark.parametrize("value", frozen, ids=lambda value: type(value).__name__)
def test_values_are_immutable(value: Any) -> None:
    models = isinstance(value, Frozen)
    names = (
        list(type(value).model_fields) if models else [f.name for f in dataclasses.fields(value)]
    )
    for name in names:
        with pytest.raises((ValidationError, dataclasses.FrozenInstanceError)):
            setattr(value, name, getattr(value, name))
    with pytest.raises((ValidationError, TypeError)):
        type(value)(**{name: getattr(value, name) for name in names}, unknown=1)


@pytest.mark.parametrize(
    "name", ["a", "users:get", "A_1", "_x", "a.b/c-d:e", "9", "a" * 128, "a*", "{a,b}:x", "ä*"]
)
def test_names_of_tools_and_patterns(name: str) -> None:
    assert ToolSpec(name=name).name == name


@pytest.mark.parametrize("name", ["", " a", "a b", "-a", ":a", "a" * 129, "é", "a\n", "a,b"])
def test_what_is_no_name_of_a_tool(name: str) -> None:
    with pytest.raises(ValidationError, match="is not a tool name"):
        ToolSpec(name=name)


@pytest.mark.parametrize("session_id", ["s_1", "s_a-B_9", "s_" + "a" * 64])
def test_ids_of_sessions(session_id: str) -> None:
    assert record(id=session_id).id == session_id


@pytest.mark.parametrize(
    "session_id", ["", "s_", "1", "S_1", "s_" + "a" * 65, "s_a/b", "s_a\n", "s_é", "s_{a}"]
)
def test_what_is_no_id_of_a_session(session_id: str) -> None:
    with pytest.raises(ValidationError, match="a session id is"):
        record(id=session_id)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(SessionLimits)])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "x"])
def test_limits_are_positive_and_finite(field: str, value: Any) -> None:
    if field == "cancel_on_first_error":
        value = "x" if isinstance(value, str) else 7
    with pytest.raises(ValidationError):
        SessionLimits(**{field: value})


def test_limits_that_may_be_left_open() -> None:
    optional = {"idle_timeout", "run_timeout", "call_timeout", "max_tool_calls"}
    for field in dataclasses.fields(SessionLimits):
        if field.name in optional:
            assert getattr(SessionLimits(**{field.name: None}), field.name) is None
        else:
            with pytest.raises(ValidationError):
                SessionLimits(**{field.name: None})


@pytest.mark.anyio
async def test_the_longest_session_has_a_date_for_its_end() -> None:
    async with SessionManager(session_timeout=1e9) as manager:
        session = await manager.create()
        first = await anext(session.events())
        assert first.payload["expiresAt"].endswith("Z")


@pytest.mark.parametrize("rate", [{"max_calls": 0, "window": 1}, {"max_calls": 1, "window": 0}])
def test_a_rate_admits_something_in_some_time(rate: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rate(**rate)


def test_only_what_allows_is_true() -> None:
    assert [bool(Decision(verdict, "r")) for verdict in Verdict] == [True, False, False]
    assert [Decision(verdict, "r").allowed for verdict in Verdict] == [True, False, False]
    refused = Admission(Window("k", "s", 1, 1.0), 0.5)
    assert (bool(refused), refused.allowed) == (False, False)
    assert (bool(Admission()), Admission().allowed) == (True, True)


def test_a_principal() -> None:
    assert Principal(id="ada").authenticated
    assert not Principal.anonymous().authenticated
    assert Principal.anonymous().roles == frozenset()
    for wrong in ({"id": ""}, {"id": "a" * 257}, {"id": "a", "attributes": {"x": object()}}):
        with pytest.raises(ValidationError):
            Principal(**wrong)  # type: ignore[arg-type]
    assert record(principal=Principal(id="ada")).principal_id == "ada"
    assert record().principal_id is None


def test_what_a_value_was_made_of_can_change_and_it_does_not() -> None:
    attributes: dict[str, Any] = {"teams": ["core"]}
    ada = Principal(id="ada", attributes=attributes)
    attributes["teams"].append("other")
    attributes["more"] = 1
    assert ada.attributes == {"teams": ["core"]}


def test_states_that_are_the_end() -> None:
    assert {state.value for state in SessionState if state.ended} == {
        "completed",
        "cancelled",
        "failed",
    }
