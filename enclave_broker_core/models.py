"""What the parts of a broker say to each other: small, immutable values."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    field_validator,
)
from pydantic.dataclasses import dataclass as validated

from .key_texts import KeyTexts
from .patterns import is_exact

TOOL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")
CLIENT_PREFIX = "client:"
SHORTEST_DURABLE_KEY = 32
SESSION_ID = re.compile(r"s_[A-Za-z0-9_-]{1,64}")

Seconds = Annotated[float, Gt(0), Le(1e9)]  # 30 years: a date can hold when they are over
Count = Annotated[int, Ge(1)]


def _source_name(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name) is None:
        raise ValueError("a source's name has letters, digits, '_', '.' and '-', up to 64")
    return name


SourceName = Annotated[str, AfterValidator(_source_name)]
"""What the names of a provider's tools begin with."""


class Frozen(KeyTexts, BaseModel):
    """The base of the models here: immutable, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Principal(Frozen):
    """Who makes a call. ``attributes`` are what access rules may ask for."""

    id: str = Field(min_length=1, max_length=256)
    tenant: str | None = None
    roles: frozenset[str] = frozenset()
    attributes: Mapping[str, JsonValue] = Field(default_factory=dict)
    authenticated: bool = True

    @classmethod
    def anonymous(cls) -> Self:
        """Somebody who has not shown who they are."""
        return cls(id="anonymous", authenticated=False)


class Verdict(enum.Enum):
    """What a policy says: never a truth value, so that a forgotten await can't allow."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, the rule that made it, and why. Operators see the rule, agents don't."""

    verdict: Verdict
    rule: str
    reason: str = ""

    @property
    def allowed(self) -> bool:
        return self.verdict is Verdict.ALLOW

    def __bool__(self) -> bool:
        return self.verdict is Verdict.ALLOW


class Rate(Frozen):
    """At most ``max_calls`` in any ``window`` seconds."""

    max_calls: Count
    """Calls in a window, at most."""
    window: Seconds
    """The length of each window, in seconds."""


@dataclass(frozen=True, slots=True)
class Window:
    """One sliding window of one key: ``max_calls`` in any ``seconds``.

    ``scope`` is what people are told: "global", "session", "principal", "tenant" or
    "tool users:*".
    """

    key: str
    scope: str
    max_calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Admission:
    """A limiter's answer. When refused: by which window, and the seconds until it has room."""

    refused_by: Window | None = None
    retry_after: float = 0.0

    @property
    def allowed(self) -> bool:
        return self.refused_by is None

    def __bool__(self) -> bool:
        return self.refused_by is None


class ToolSpec(Frozen):
    """What is known of a tool: its name, its schemas and how it may be used.

    ``name`` is a pattern where one handler takes the calls of many names. ``destructive``
    is whether it may change or remove what is there; None when nobody has said. ``timeout``
    is in seconds. ``secrets`` are names, never values. ``source`` is the provider that it
    comes from.
    """

    name: str
    description: str = ""
    input_schema: dict[str, Any] = Field(
        default_factory=lambda: {"type": "object", "properties": {}, "additionalProperties": False}
    )
    output_schema: dict[str, Any] | None = None
    tags: frozenset[str] = frozenset()
    deprecated: bool = False
    read_only: bool = False
    idempotent: bool = False
    destructive: bool | None = None
    timeout: Seconds | None = None
    rate_limit: Rate | None = None
    requires_auth: bool = False
    secrets: tuple[str, ...] = ()
    source: str = "python"

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not TOOL_NAME.fullmatch(name) and is_exact(name):
            raise ValueError(
                f"{name!r} is not a tool name: letters, digits and _.:/- are, up to 128 of them"
            )
        return name


@validated(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class SessionLimits(KeyTexts):
    """What one session may use. Times are in seconds, sizes in bytes of JSON or UTF-8."""

    timeout: Seconds = 3600.0
    """The session's whole life."""
    idle_timeout: Seconds | None = None
    """The time without a call, a run or a message; no bound when left out."""
    run_timeout: Seconds | None = 300.0
    """One run of code."""
    call_timeout: Seconds | None = None
    """One tool call; no bound but the tool's own and the session's when left out."""
    max_tool_calls: Count | None = None
    """Attempts to call a tool, refused ones too; no bound when left out."""
    max_output_bytes: Count = 1024 * 1024
    """What one run prints."""
    max_argument_bytes: Count = 1024 * 1024
    """The arguments of one call."""
    max_result_bytes: Count = 4 * 1024 * 1024
    """The result of one call, or of one run."""
    max_code_bytes: Count = 256 * 1024
    """The code of one run."""
    max_memory_bytes: Count = 64 * 1024 * 1024
    """The memory that one run's sandbox may use."""
    cancel_on_first_error: bool = False
    """Whether the first call that fails cancels the session."""


DurableKey = Annotated[SecretStr, Field(min_length=SHORTEST_DURABLE_KEY)]


class SessionSettings(Frozen):
    """What holds for all sessions of a broker."""

    model_config = ConfigDict(hide_input_in_errors=True)

    max_concurrent: Count | None = 1000
    """Sessions that have not ended."""
    max_per_principal: Count | None = None
    """Those of one principal, id and tenant together, and not the program's own."""
    cleanup_interval: Seconds = 10.0
    """How often, in seconds, the store is asked to forget ended sessions."""
    admin_roles: frozenset[str] = frozenset()
    """Principals with one of these may see and touch the sessions of others."""
    durable_key: DurableKey | None = None
    """Seals what is saved of durable sessions: 32 bytes or more, the same in all brokers
    that share them."""
    former_durable_keys: tuple[DurableKey, ...] = ()
    """What one of these sealed is still taken back."""
    max_durable_bytes: Count = 32 * 1024 * 1024
    """Bytes of what is saved of one session's code."""


class ClientTool(Frozen):
    """A tool as its client declares it. ``timeout`` is in seconds: how long an answer may take."""

    name: str = Field(max_length=128)
    description: str = Field(default="", max_length=8192)
    input_schema: dict[str, Any] = Field(default_factory=dict)
    output_schema: dict[str, Any] | None = None
    timeout: Seconds = 60.0

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        own = name.removeprefix(CLIENT_PREFIX)
        if own in ("", name) or not TOOL_NAME.fullmatch(name):
            raise ValueError(
                f"the name of a client's tool is {CLIENT_PREFIX!r} and then letters, digits"
                " and _.:/-"
            )
        return name


class SessionState(enum.Enum):
    """starting → running ⇄ waiting_for_tool → completed | cancelled | failed."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING_FOR_TOOL = "waiting_for_tool"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED = frozenset({SessionState.COMPLETED, SessionState.CANCELLED, SessionState.FAILED})


class SessionRecord(Frozen):
    """A session as a store keeps it. Times are seconds since the epoch.

    ``last_seq`` is the seq of the log's last event, 0 without one: who wants to follow only
    what comes reads from ``last_seq + 1``. A ``durable`` one is not lost with the process
    that runs it.
    """

    id: str
    state: SessionState
    created_at: float
    expires_at: float
    ended_at: float | None = None
    principal: Principal | None = None
    allowed_tools: tuple[str, ...] | None = None
    limits: SessionLimits = SessionLimits()
    metadata: Mapping[str, JsonValue] = Field(default_factory=dict)
    runtime: str | None = None
    client_tools: tuple[ClientTool, ...] = ()
    durable: bool = False
    tool_calls: int = 0
    last_seq: int = 0

    @field_validator("id")
    @classmethod
    def _id(cls, value: str) -> str:
        if not SESSION_ID.fullmatch(value):
            raise ValueError("a session id is 's_' and 1 to 64 of letters, digits, '_' and '-'")
        return value

    @property
    def principal_id(self) -> str | None:
        return None if self.principal is None else self.principal.id


@dataclass(frozen=True, slots=True)
class Claim:
    """What comes of claiming a key.

    ``new``: whoever gets it does what is asked for, and settles or releases the key.
    ``pending``: another does it and is not done. ``settled``: it is done, with ``answer``.
    ``conflict``: the key stands for a request of another fingerprint.
    """

    state: Literal["new", "pending", "settled", "conflict"]
    answer: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class RunStats:
    """What a run or a session used. ``duration`` is in seconds."""

    duration: float
    tool_calls: int
    stdout_bytes: int
