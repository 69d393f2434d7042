"""What a plugin promises: one Protocol for each kind of part. No contract knows the broker.

All methods that can wait are coroutine functions, even if they happen not to, and end when
cancelled. What is given stays unchanged. Times are float seconds, backends' errors BrokerErrors.
The largest one, a session store's, has a module of its own: ``session_store``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

from pydantic import BaseModel, JsonValue

from .calls import ToolCall
from .errors import SecretError
from .events import Level, Phase
from .models import (
    Admission,
    Decision,
    Principal,
    SessionLimits,
    ToolSpec,
    Window,
)
from .observations import Observation
from .tracing import Headers, no_headers

CONTRACT_VERSION = 1
"""What a component is written for that says no other: the first, whatever comes after it."""

Loop = Literal["asyncio", "trio"]
ALL_LOOPS: frozenset[Loop] = frozenset({"asyncio", "trio"})
"""Every event loop that a part may run on, by anyio's names."""


async def _no_secret(name: str) -> str:
    raise SecretError(f"no secret source knows {name!r}")


@dataclass(frozen=True, slots=True)
class OpenContext:
    """What a component may know when it opens: never the broker itself.

    ``name`` is what the configuration calls this part, ``base_dir`` what relative paths
    in the configuration are relative to. ``secret`` gives the value that a secret has now,
    also while the part is open; SecretError when no source knows its name. ``trace_headers``
    gives what a request to another service is to carry, so that it can be seen whose it is.
    """

    name: str
    base_dir: str = "."
    secret: Callable[[str], Awaitable[str]] = field(default=_no_secret, repr=False)
    trace_headers: Callable[[], Headers] = field(default=no_headers, repr=False)


ConfigT = TypeVar("ConfigT", bound=BaseModel, contravariant=True)
PartT = TypeVar("PartT", covariant=True)


class OpenPart(Protocol[ConfigT, PartT]):
    """Opens a part for the life of a broker: what it yields meets the kind's Protocol."""

    def __call__(
        self, config: ConfigT, context: OpenContext
    ) -> AbstractAsyncContextManager[PartT]: ...


class NoConfig(BaseModel, extra="forbid"):
    """For a component that has nothing to configure."""


@dataclass(frozen=True, slots=True)
class Component:
    """One part that a plugin offers.

    ``name`` is what ``use`` says; ``config_model`` validates the rest of that table before
    ``open(config, context)`` is entered. ``contract`` is the version of its kind's contract
    that it was written for, the first unless given; ``loops`` are the event loops that it
    runs on.
    """

    name: str
    open: OpenPart[Any, Any]
    config_model: type[BaseModel] = NoConfig
    contract: int = CONTRACT_VERSION
    loops: frozenset[Loop] = ALL_LOOPS


class Limiter(Protocol):
    """Counts calls in exact sliding windows.

    A limiter may also have ``async def remaining(windows) -> Sequence[int]``: how many calls
    each window has room for now, 0 or more. It counts nothing.
    """

    async def acquire(self, windows: Sequence[Window]) -> Admission:
        """Count one call in every window, or in none when one of them has no room.

        At most ``max_calls`` are admitted in any (t - seconds, t]. A call counts once for a key,
        however many windows have it. A refusal names the window that has room last, and when.
        """

    async def check(self) -> None:
        """Raise an error that says why when the limiter's backend can't be reached."""


class AccessRequest(NamedTuple):
    """What a policy is asked: may this caller use this tool?

    ``arguments`` is None unless the policy judges arguments: then they are the validated
    ones, in JSON form. ``metadata`` is the session's.
    """

    tool: str
    principal: Principal | None
    session_id: str | None = None
    metadata: Mapping[str, JsonValue] = MappingProxyType({})
    arguments: Mapping[str, JsonValue] | None = None


class AccessPolicy(Protocol):
    """Decides who may use which tool. What is not a Decision counts as a refusal.

    ``judges_arguments`` says when it is asked: without the arguments, above the middleware,
    or with the validated ones. A policy may also have ``stable = True``: what it says of a
    tool and a principal never changes while it lives, so that a session may remember it.
    """

    judges_arguments: bool

    async def decide(self, request: AccessRequest) -> Decision: ...


CallNext = Callable[[ToolCall], Coroutine[Any, Any, Any]]
"""What a middleware hands a call on to: the rest of the way, up to the tool."""


class Middleware(Protocol):
    """Wraps every call: may answer by itself, change the call, or call next again."""

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any: ...


class SessionView(Protocol):
    """What a tool may know of the session that calls it."""

    @property
    def id(self) -> str: ...
    @property
    def principal(self) -> Principal | None: ...
    @property
    def metadata(self) -> Mapping[str, JsonValue]: ...


@runtime_checkable
class ToolContext(Protocol):
    """What a handler gets when it has a parameter with this annotation."""

    @property
    def call_id(self) -> str: ...
    @property
    def tool(self) -> str: ...
    @property
    def session(self) -> SessionView: ...

    def secret(self, name: str) -> str:
        """The value of a secret that the tool was declared with; SecretError otherwise."""

    def remaining(self) -> float | None:
        """Seconds until the call's deadline; None when it has none."""

    async def progress(
        self, phase: Phase, *, bytes_received: int | None = None, total_bytes: int | None = None
    ) -> None:
        """Tell those who follow the session how far the call is."""

    async def partial(self, item: Any) -> None:
        """Show a part of the result before the whole is there."""

    async def log(
        self, level: Level, message: str, data: dict[str, JsonValue] | None = None
    ) -> None:
        """Add a log event to the session."""

    async def call(self, name: str, args: Mapping[str, Any] | None = None) -> Any:
        """Call another tool in the same session, by the same rules."""


class Tool(Protocol):
    """One tool, ready to be called."""

    @property
    def spec(self) -> ToolSpec: ...

    def validate(self, arguments_json: bytes) -> Any:
        """The arguments as ``invoke`` takes them. ArgumentsError: each wrong field, no value."""

    def dump(self, arguments: Any) -> Mapping[str, JsonValue]:
        """A copy of validated arguments in JSON form, for policies that judge them."""

    def invoke(self, arguments: Any, context: ToolContext) -> Awaitable[Any]:
        """Run the tool. What it raises reaches the agent as TOOL_ERROR with its message."""


Publish = Callable[[Sequence[Tool]], Awaitable[None]]
"""What a provider hands all its tools to when they have changed."""


class ToolProvider(Protocol):
    """Brings tools from somewhere and may change them later."""

    async def tools(self) -> Sequence[Tool]:
        """All tools as they are now."""

    async def watch(self, publish: Publish) -> None:
        """Call ``publish`` with all tools after each change; return when there will be none.

        Runs in the broker's task group and is cancelled when the broker closes.
        """


class RuntimeHost(Protocol):
    """What a sandbox may use of its session: nothing else of the program is in its reach.

    When ``durable``, another process may go on with a run from its last checkpoint. So each
    call has a ``key`` of its own in the run (up to 64 letters, digits and ``_``) and is made
    after a checkpoint that lists it, and what the code printed is passed on before that.
    """

    @property
    def durable(self) -> bool: ...

    @property
    def session_id(self) -> str: ...

    @property
    def limits(self) -> SessionLimits: ...

    def tools(self) -> Mapping[str, ToolSpec]:
        """External name → tool, for all that this session may use now."""

    async def call(
        self, name: str, arguments: Mapping[str, Any], *, key: str | None = None
    ) -> JsonValue:
        """One tool call through the whole pipeline; raises BrokerError.

        In a run that is resumed, a call that has its outcome already is not made again.
        """

    async def checkpoint(self, state: bytes, calls: Sequence[str]) -> None:
        """Keep the run as it waits now for the calls with these keys, all that it waits for.

        ``state`` is what ``resume`` goes on from. Returns when it is kept; raises BrokerError,
        and then the run ends. Only for a durable run.
        """

    async def stdout(self, chunk: str) -> None:
        """Pass on what the code printed; raises ResultTooLargeError over the limit."""

    async def log_line(self, level: Level, message: str) -> None:
        """Pass on what the code logged; it counts as printed."""


class RuntimeSession(Protocol):
    """The code state of one session, from its first run to its end."""

    async def run(self, code: str, *, last: bool = False) -> JsonValue:
        """Run code after what ran before; the value of its last expression, as JSON.

        No other run follows the ``last`` one, so its state needn't be kept. Raises RunError
        for what the code did wrong, DeadlineExceededError for too much processor time,
        RuntimeBusyError when no worker is free. Cancelling stops the code and its calls.
        """

    async def dump(self) -> bytes | None:
        """The state for another process to take up; None when this can't be done."""


class DurableRuntimeSession(RuntimeSession, Protocol):
    async def resume(self, *, last: bool = False) -> JsonValue:
        """Go on with the run whose checkpoint this session was opened with, as ``run`` does.

        Makes all calls that the run waited for again, at once and with their keys, before it
        goes on; no checkpoint is needed for these. Their arguments are the same.
        """


class Runtime(Protocol):
    """Runs code that agents write, shut off from everything but its RuntimeHost.

    One with an attribute ``durable`` that is True can checkpoint its runs: its sessions are
    DurableRuntimeSessions, and what is given as ``state`` may also be a checkpoint.
    """

    language: str

    def session(
        self, host: RuntimeHost, state: bytes | None = None
    ) -> AbstractAsyncContextManager[RuntimeSession]:
        """Open the code state of one session, anew or from a dump."""


class EventSink(Protocol):
    """Sees every call, refused ones too, and every session. Can't change any.

    One that is a ``tracing.Tracer`` is told of beginnings, too. A component that has nothing to
    do, as it is configured, yields None in place of one.
    """

    async def observe(self, observation: Observation) -> None:
        """Take note. An error is logged and reported; the call's answer stays as it is."""


class SecretSource(Protocol):
    """Looks secrets up by their names."""

    async def get(self, name: str) -> str | None:
        """The value as it is now, None when not known; no repr, error or log may show it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a transport was shown: header names are in lower case."""

    headers: Mapping[str, str]
    peer: str | None = None


class Authenticator(Protocol):
    """Says who a caller is, by what a request shows."""

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """The principal, or None when these credentials are not of this kind.

        AccessDeniedError, which does not show them, when they are of this kind and wrong.
        """
