"""What a server tells of its sessions and tools. Times are in seconds, since the epoch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from enclave_broker_core.calls import CallRecord
from enclave_broker_core.models import SessionState

from .errors import ProtocolError

ToldT = TypeVar("ToldT", bound="Told")


def _in_seconds(value: Any) -> Any:
    return value / 1000 if type(value) is int else value


FromMilliseconds = Annotated[float, BeforeValidator(_in_seconds)]


class Told(BaseModel):
    """The base of what a server tells; what a newer one tells besides is left out."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, protected_namespaces=()
    )

    @classmethod
    def of(cls: type[ToldT], said: Any) -> ToldT:
        """From the server's JSON. ProtocolError."""
        try:
            return cls.model_validate(said)
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ProtocolError(f"the server's answer is wrong: {place}: {first['msg']}") from None


class SessionInfo(Told):
    """A session as it stands; ``duration`` is in seconds."""

    session_id: str
    state: SessionState
    created_at: FromMilliseconds
    expires_at: FromMilliseconds
    duration: FromMilliseconds = Field(validation_alias=AliasPath("stats", "duration"))
    tool_calls: int = Field(validation_alias=AliasPath("stats", "toolCallCount"))


class ToolInfo(Told):
    """A tool that the caller may use."""

    name: str
    description: str = ""
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    tags: frozenset[str] = frozenset()
    deprecated: bool = False


class Ticket(Told):
    """Opens one stream or WebSocket of one session, once; it is a secret until then."""

    ticket: str = Field(repr=False)
    expires_at: FromMilliseconds


class _Call(Told):
    call_id: str
    tool: str
    arguments: dict[str, Any]
    outcome: Literal["ok", "error", "refused", "cancelled"]
    error_code: str | None = None
    started_at_ms: int
    ended_at_ms: int


def call_record(said: Any) -> CallRecord:
    """A call of a session's history. ProtocolError."""
    call = _Call.of(said)
    return CallRecord(
        call.call_id,
        call.tool,
        to_json(call.arguments),
        call.outcome,
        call.error_code,
        call.started_at_ms / 1000,
        call.ended_at_ms / 1000,
    )


def items(said: Any, key: str) -> list[Any]:
    """The list in an answer that has one. ProtocolError."""
    found = said.get(key) if isinstance(said, dict) else None
    if not isinstance(found, list):
        raise ProtocolError(f"the server's answer is wrong: {key} is no list")
    return found
