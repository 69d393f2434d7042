"""The broker's own record of one call under way; to the handler it is the ToolContext."""

from __future__ import annotations

import copy
import time
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, Protocol

from pydantic import JsonValue
from pydantic_core import from_json

from . import events
from .calls import CallRecord
from .errors import BrokerError, ResultTooLargeError, SecretError
from .guard import Guard
from .json_form import TooLargeError, json_text
from .lanes import Lane
from .models import Decision, Principal, SessionLimits, ToolSpec
from .once import Once
from .pattern_index import PatternIndex
from .redaction import Redactor
from .registry import Catalog


class Append(Protocol):
    """``SessionStore.append``."""

    def __call__(
        self, session_id: str, event: events.Draft, call: CallRecord | None = None
    ) -> Coroutine[Any, Any, int]: ...


class Kept(Protocol):
    """What is kept of a call that may have been begun by a process which has gone.

    ``repeats``: that one has written the event that the call begins with.
    """

    @property
    def call_id(self) -> str: ...
    @property
    def repeats(self) -> bool: ...
    async def end(
        self,
        event: events.Draft,
        call: CallRecord,
        result: JsonValue,
        failure: BrokerError | None,
        *,
        cancelled: bool,
    ) -> None:
        """Write the event of the call's end, and with it what came of the call."""


class Asking(Protocol):
    """Who asks for a tool, and in which session: all that a decision on access depends on."""

    @property
    def allowed(self) -> PatternIndex | None: ...
    @property
    def id(self) -> str | None: ...
    @property
    def principal(self) -> Principal | None: ...
    @property
    def metadata(self) -> Mapping[str, JsonValue]: ...


class CallSession(Asking, Protocol):
    """What a call needs of the session that it is made in."""

    lanes: dict[str, Lane]

    @property
    def append(self) -> Append:
        """The store's, for the record of a call."""

    @property
    def caller_headers(self) -> Mapping[str, str]:
        """Those of the caller's own request that tools may pass on; by name in lower case."""

    @property
    def redactor(self) -> Redactor: ...
    @property
    def id(self) -> str: ...
    @property
    def limits(self) -> SessionLimits: ...
    def remaining(self) -> float:
        """Seconds until its life is over."""

    def over(self) -> BrokerError:
        """The error of what is still asked of a session that is ending."""

    def begin_call(self, frame: CallFrame) -> None:
        """The call is under way; raises what ``over`` says when the session is ending."""

    def finish_call(self, frame: CallFrame, failure: BrokerError | None) -> Awaitable[None] | None:
        """The call has been recorded; what is still to be awaited when the session ends."""

    def emit(self, draft: events.Draft) -> Awaitable[int]: ...
    def call(
        self, name: str, args: Mapping[str, Any] | None = None, *, depth: int = 0
    ) -> Coroutine[Any, Any, Any]: ...


class CallFrame:
    """One call's scope, decision and context; shared by all replacements of its ToolCall."""

    __slots__ = (
        "call_id",
        "catalog",
        "deadline",
        "decision",
        "depth",
        "guard",
        "kept",
        "on_end",
        "partial_bytes",
        "partials",
        "pending",
        "refusal",
        "rule",
        "secrets",
        "session",
        "started",
        "stopped",
        "tool",
    )

    def __init__(
        self,
        session: CallSession,
        call_id: str,
        catalog: Catalog,
        tool: str,
        started: float,
        refusal: BrokerError | None,
        depth: int = 0,
        kept: Kept | None = None,
    ) -> None:
        self.session = session
        self.kept = kept
        self.depth = depth
        self.call_id = call_id
        self.catalog = catalog
        self.tool = tool
        self.started = started
        self.refusal = refusal
        self.guard: Guard | None = None
        self.on_end: Once | None = None
        self.stopped = False
        self.decision: Decision | None = None
        self.rule = ""
        self.deadline: float | None = None
        self.secrets: Mapping[str, str] | None = None
        self.partials = 0
        self.partial_bytes = 0
        self.pending: events.Draft | None = None

    def gone(self) -> Once:
        """Is set when the call has been recorded."""
        if self.on_end is None:
            self.on_end = Once()
        return self.on_end

    async def begin(self) -> None:
        """Write the event that the call begins with, unless that has been done."""
        if self.pending is not None:
            await self.session.append(self.session.id, self.pending)
            self.pending = None

    async def _emit(self, draft: events.Draft) -> None:
        await self.begin()
        await self.session.emit(draft)

    def stop(self) -> None:
        """Stop the call, wherever it is on its way."""
        self.stopped = True
        if self.guard is not None:
            self.guard.stop()

    @property
    def session_id(self) -> str:
        return self.session.id

    @property
    def metadata(self) -> Mapping[str, JsonValue]:
        return self.session.metadata

    def spec(self, name: str) -> ToolSpec | None:
        """``ToolCall.spec``, for any name."""
        tool = self.catalog.find(name)
        return None if tool is None else tool.spec

    def time_left(self) -> float:
        """``ToolCall.remaining``."""
        left, budget = self.session.remaining(), self.session.limits.call_timeout
        if budget is not None:
            left = min(left, self.started + budget - time.monotonic())
        return max(0.0, left)

    def renamed(self, tool: str) -> CallFrame:
        """The same call's context for another tool, as middleware may choose one."""
        context = copy.copy(self)
        context.tool = tool
        return context

    def secret(self, name: str) -> str:
        if self.secrets is None or name not in self.secrets:
            raise SecretError(
                f"{self.tool} asked for the secret {name!r} and is not declared with it:"
                f" secrets=[{name!r}]"
            )
        return self.secrets[name]

    def remaining(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    async def progress(
        self,
        phase: events.Phase,
        *,
        bytes_received: int | None = None,
        total_bytes: int | None = None,
    ) -> None:
        elapsed = time.monotonic() - self.started
        await self._emit(
            events.tool_progress(self.call_id, phase, elapsed, bytes_received, total_bytes)
        )

    async def partial(self, item: Any) -> None:
        most = self.session.limits.max_result_bytes
        try:
            text = self.session.redactor.json(json_text(item, most - self.partial_bytes))
        except TooLargeError:
            raise ResultTooLargeError(
                f"the parts of the result of {self.tool} are larger than {most} bytes"
            ) from None
        path = [self.call_id, str(self.partials)]
        self.partials += 1
        self.partial_bytes += len(text)
        await self._emit(events.partial_result(path, text, has_next=True))

    async def log(
        self, level: events.Level, message: str, data: dict[str, JsonValue] | None = None
    ) -> None:
        redactor = self.session.redactor
        if data is not None:
            text = json_text(data, self.session.limits.max_result_bytes)
            data = from_json(redactor.json(text))
        await self._emit(events.log(level, redactor.text(message), data))

    async def call(self, name: str, args: Mapping[str, Any] | None = None) -> Any:
        return await self.session.call(name, args, depth=self.depth + 1)
