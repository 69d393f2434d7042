"""The messages of a WebSocket: what a client may send, and the answers to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from .answers import HttpError, json_bytes
from .body import from_text
from .requests import Body, Cancellation, error_text
from .settings import DoorLimits

LONGEST_ID = 128
MessageId = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]


class CallMessage(Body):
    """A tool call. Its ``id`` is the client's own, and the answer's."""

    type: Literal["tool_call"]
    id: MessageId
    name: Annotated[str, Field(min_length=1, max_length=256)]
    args: Mapping[str, Any] = Field(default_factory=dict)


class CodeMessage(Body):
    """Code that is to run in an interactive session."""

    type: Literal["execute"]
    code: str


class AnswerMessage(Body):
    """What came of a call of a tool that the client runs; ``id`` is that of the call's event."""

    type: Literal["tool_result"]
    id: MessageId
    data: JsonValue = None
    error: Any = None

    def failure(self) -> str | None:
        """What went wrong, for an answer that is not ``data``."""
        if "data" in self.model_fields_set:
            return None
        return error_text(self.error) or "the client's tool failed"


class CancelMessage(Cancellation):
    """Ends the session."""

    type: Literal["cancel"]


SocketMessage = CallMessage | CodeMessage | AnswerMessage | CancelMessage
_KINDS: Mapping[str, type[SocketMessage]] = {
    "tool_call": CallMessage,
    "execute": CodeMessage,
    "tool_result": AnswerMessage,
    "cancel": CancelMessage,
}


class UnclearError(Exception):
    """A message that is not understood; ``id`` is the one in it, when that can be told."""

    def __init__(self, problem: HttpError, id: str | None = None) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.id = id


def read(frame: Mapping[str, Any], limits: DoorLimits) -> SocketMessage:
    """The message in a frame, as the server has it. UnclearError."""
    text = frame.get("text")
    given: Any = None
    try:
        if text is None:
            raise HttpError(400, "messages are sent as text")
        given = from_text(text, limits, "the message")
        return _message(given)
    except HttpError as problem:
        raise UnclearError(problem, _id_in(given)) from None


def _message(given: Any) -> SocketMessage:
    if not isinstance(given, dict):
        raise HttpError(400, "a message must be a JSON object")
    kind = given.get("type")
    model = _KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise HttpError(400, f"the type of a message is one of: {', '.join(_KINDS)}")
    message = model.of(given)
    if isinstance(message, AnswerMessage) and ("data" in given) == ("error" in given):
        raise HttpError(400, "a tool_result has either data or an error")
    return message


def _id_in(given: Any) -> str | None:
    found = given.get("id") if isinstance(given, dict) else None
    return found if isinstance(found, str) and 0 < len(found) <= LONGEST_ID else None


def tool_result(id: str, data: Any) -> bytes:
    return json_bytes({"type": "tool_result", "id": id, "data": data})


def tool_error(id: str, error: Mapping[str, Any]) -> bytes:
    """``error`` is ``{code, message, details?}``."""
    return json_bytes({"type": "tool_error", "id": id, "error": error})
