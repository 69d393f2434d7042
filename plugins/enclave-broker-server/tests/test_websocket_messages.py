"""What a WebSocket's client may send is a message, or is refused; it is never anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from enclave_broker_server.settings import DoorLimits
from enclave_broker_server.socket_messages import (
    AnswerMessage,
    CallMessage,
    CancelMessage,
    CodeMessage,
    UnclearError,
    read,
    tool_error,
    tool_result,
)
from hypothesis import example, given
from hypothesis import strategies as st

LIMITS = DoorLimits()
KINDS = ["tool_call", "execute", "tool_result", "cancel", "tool_error"]
TEXTS = st.text(max_size=5)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
MESSAGES = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | JSON},
    optional={
        "id": TEXTS | JSON,
        "name": TEXTS | JSON,
        "args": st.dictionaries(TEXTS, JSON, max_size=2) | JSON,
        "code": TEXTS | JSON,
        "data": JSON,
        "error": TEXTS | JSON,
        "reason": TEXTS | JSON,
        "else": JSON,
    },
)


@given(given=MESSAGES | JSON)
@example(given={"type": "tool_call", "id": "1", "name": "n"})
@example(given={"type": "tool_result", "id": "1", "data": None})
def test_any_json_is_a_message_or_refused(given: Any) -> None:
    sent = json.dumps(given)
    try:
        message = read({"text": sent}, LIMITS)
    except UnclearError as problem:
        unclear = problem
    else:
        # What was taken is what was sent, all of it.
        assert message.model_dump(by_alias=True, exclude_unset=True) == given
        return
    assert unclear.problem.status == 400
    assert unclear.id is None or unclear.id == given["id"]


@given(frame=st.binary(max_size=50) | st.text(max_size=50))
def test_any_other_frame_is_refused(frame: bytes | str) -> None:
    with pytest.raises(UnclearError):
        read({"bytes": frame} if isinstance(frame, bytes) else {"text": frame}, LIMITS)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ({"type": "tool_call", "id": "1", "name": "n", "args": {"a": 1}}, CallMessage),
        ({"type": "execute", "code": ""}, CodeMessage),
        ({"type": "tool_result", "id": "c_1", "error": None}, AnswerMessage),
        ({"type": "cancel"}, CancelMessage),
        ({"type": "cancel", "reason": None}, CancelMessage),
    ],
)
def test_each_kind(sent: dict[str, Any], kind: type) -> None:
    assert type(read({"text": json.dumps(sent)}, LIMITS)) is kind


@given(id=st.text(), data=JSON)
def test_answers_are_json(id: str, data: Any) -> None:
    assert json.loads(tool_result(id, data)) == {"type": "tool_result", "id": id, "data": data}
    assert json.loads(tool_error(id, {"code": "X"})) == {
        "type": "tool_error",
        "id": id,
        "error": {"code": "X"},
    }
