"""The bodies that clients send, as models: camelCase on the wire, and no key that isn't known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from enclave_broker_core.client_tools import MOST_TOOLS
from enclave_broker_core.models import ClientTool, Frozen, SessionLimits
from enclave_broker_core.patterns import MAX_PATTERN_LENGTH

from .answers import HttpError


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# To JSON 5.0 is an integer as well.
Positive = Annotated[int, Field(ge=1, le=10**12, strict=True), BeforeValidator(_whole)]
SESSION_ID = r"^s_[A-Za-z0-9_-]{1,64}$"
CLIENT_TOOL = r"^client:[A-Za-z0-9_.:/-]{1,121}$"
LONGEST_DESCRIPTION = 8192
MOST_PATTERNS = 1000
MOST_KEYS = 50
MOST_REPORTED = 20
LONGEST_FIELD = 200

ToolPattern = Annotated[str, Field(min_length=1, max_length=MAX_PATTERN_LENGTH)]

BodyT = TypeVar("BodyT", bound="Body")


class Body(Frozen):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _few_keys(cls, given: Any) -> Any:
        # Each key that is not known is a mistake of its own: of thousands, one is enough.
        if isinstance(given, dict) and len(given) > MOST_KEYS:
            raise ValueError(f"it has more than {MOST_KEYS} keys")
        return given

    @classmethod
    def of(cls: type[BodyT], given: Any) -> BodyT:
        """From JSON; HttpError 400 that says which part of it is wrong."""
        if not isinstance(given, dict):
            raise HttpError(400, "the body must be a JSON object")
        try:
            return cls.model_validate(given)
        except ValidationError as problem:
            raise _invalid(problem) from None


def _invalid(problem: ValidationError) -> HttpError:
    """Each field that is wrong, and why; not what was sent."""
    fields: dict[str, str] = {}
    for error in problem.errors(include_input=False, include_url=False)[:MOST_REPORTED]:
        field = ".".join(str(part) for part in error["loc"])[:LONGEST_FIELD]
        known = error["type"] != "extra_forbidden"
        fields[field] = error["msg"] if known else "is not known here"
    said = "; ".join(f"{field}: {why}" for field, why in fields.items())
    details = [
        {"type": "validation_info", "field": field, "reason": why} for field, why in fields.items()
    ]
    return HttpError(400, f"the request is wrong: {said}", details=details)


class RunConfig(Body):
    """What a client asks for; it can lower the server's limits and never raise them."""

    max_execution_ms: Positive | None = None
    max_tool_calls: Positive | None = None
    heartbeat_interval_ms: Positive | None = None

    def limits(self, most: SessionLimits) -> dict[str, Any]:
        """The limits of the session, of those that hold for all."""
        found: dict[str, Any] = {}
        if self.max_execution_ms is not None:
            seconds = self.max_execution_ms / 1000
            found["run_timeout"] = min(seconds, most.run_timeout or seconds)
        if self.max_tool_calls is not None:
            allowed = most.max_tool_calls
            found["max_tool_calls"] = (
                self.max_tool_calls if allowed is None else min(self.max_tool_calls, allowed)
            )
        return found

    def heartbeat(self, usual: float) -> float:
        """Seconds between heartbeats: from 1 to 25, or the client takes the stream for dead."""
        if self.heartbeat_interval_ms is None:
            return usual
        return min(25.0, max(1.0, self.heartbeat_interval_ms / 1000))


class DeclaredTool(Body):
    """A tool that the client runs itself."""

    name: Annotated[str, Field(pattern=CLIENT_TOOL)]
    description: Annotated[str, Field(max_length=LONGEST_DESCRIPTION)] = ""
    input_schema: dict[str, Any] = Field(default_factory=dict)
    output_schema: dict[str, Any] | None = None
    timeout_ms: Positive | None = None

    def tool(self) -> ClientTool:
        given: dict[str, Any] = (
            {} if self.timeout_ms is None else {"timeout": self.timeout_ms / 1000}
        )
        return ClientTool(
            name=self.name,
            description=self.description,
            input_schema=self.input_schema,
            output_schema=self.output_schema,
            **given,
        )


class NewSession(Body):
    """``POST /sessions``: without ``code`` the session is an interactive one."""

    session_id: Annotated[str, Field(pattern=SESSION_ID)] | None = None
    code: str | None = None
    config: RunConfig = RunConfig()
    filter: Any = None
    allowed_tools: Annotated[tuple[ToolPattern, ...], Field(max_length=MOST_PATTERNS)] | None = None
    metadata: Mapping[str, JsonValue] = Field(default_factory=dict)
    runtime: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    client_tools: Annotated[tuple[DeclaredTool, ...], Field(max_length=MOST_TOOLS)] = ()
    durable: StrictBool = False


class Execution(Body):
    """``POST /sessions/{id}/execute``."""

    code: str
    filter: Any = None


class Cancellation(Body):
    """``POST /sessions/{id}/cancel``."""

    reason: Annotated[str, Field(max_length=1000)] | None = None


class ToolResult(Body):
    """``POST /sessions/{id}/tool-result``: a result, which may be null, or an error."""

    call_id: Annotated[str, Field(max_length=128)]
    result: JsonValue = None
    error: Any = None

    def failure(self) -> str | None:
        return error_text(self.error)


def error_text(error: Any) -> str | None:
    """What a client's error says: a text, or an object with a ``message``."""
    if error is None:
        return None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        error = error["message"]
    return error if isinstance(error, str) else "the client's tool failed"
