"""A tool call on its way, a finished one in the history, and the outcome of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from .models import Principal, RunStats, ToolSpec

Outcome = Literal["ok", "error", "refused", "cancelled"]


class CallRecord(NamedTuple):
    """One finished call in a session's history. Times are seconds since the epoch.

    ``arguments_json`` is what the caller sent, as JSON text. ``rule`` is what decided on
    access; it is for operators.
    """

    call_id: str
    tool: str
    arguments_json: bytes
    outcome: Outcome
    error_code: str | None
    started_at: float
    ended_at: float
    rule: str = ""

    @property
    def arguments(self) -> dict[str, JsonValue]:
        value: dict[str, JsonValue] = from_json(self.arguments_json)
        return value

    def to_json(self) -> dict[str, JsonValue]:
        """For people and for the wire: times in integer milliseconds since the epoch."""
        shown: dict[str, JsonValue] = {
            "callId": self.call_id,
            "tool": self.tool,
            "arguments": self.arguments,
            "outcome": self.outcome,
            "startedAtMs": round(self.started_at * 1000),
            "endedAtMs": round(self.ended_at * 1000),
        }
        if self.error_code is not None:
            shown["errorCode"] = self.error_code
        return shown


class ReadOnlyArguments(dict[str, Any]):
    """A call's arguments for reading; a changed copy goes into ``call.replace(args=…)``."""

    __slots__ = ()

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a call's arguments can't be changed in place; use call.replace(args=…)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


class ToolCall(NamedTuple):
    """One call on its way to a tool, as middleware and policies see it. Immutable.

    ``frame`` is the broker's own record of the call, shared by all its replacements.
    ``grant`` is filled when access has been granted to this very object: that of a
    replacement is empty, so it has to ask again.
    """

    id: str
    name: str
    arguments_json: bytes
    principal: Principal | None
    frame: Any
    grant: list[Any]

    @property
    def session_id(self) -> str:
        session_id: str = self.frame.session_id
        return session_id

    @property
    def metadata(self) -> Mapping[str, JsonValue]:
        """The session's metadata."""
        metadata: Mapping[str, JsonValue] = self.frame.metadata
        return metadata

    @property
    def args(self) -> Mapping[str, JsonValue]:
        """The arguments, parsed anew at each reading; they can't be changed in place."""
        return ReadOnlyArguments(from_json(self.arguments_json))

    @property
    def spec(self) -> ToolSpec | None:
        """The tool that takes this name, in the catalog that the call began with; None when none.

        It is the same object for as long as the tool is not published anew.
        """
        spec: ToolSpec | None = self.frame.spec(self.name)
        return spec

    @property
    def depth(self) -> int:
        """0 for a call of the session's own, 1 for one that its tool makes, and so on."""
        depth: int = self.frame.depth
        return depth

    def remaining(self) -> float:
        """Seconds, 0 or more, that the call may take with all that middleware does about it.

        They end with the session or, when that has a ``call_timeout``, so long after the
        call began. The tool's own timeout begins anew each time that the call is passed on.
        """
        seconds: float = self.frame.time_left()
        return seconds

    def replace(
        self,
        *,
        name: str | None = None,
        args: Mapping[str, JsonValue] | None = None,
        principal: Principal | None = None,
    ) -> ToolCall:
        """The same call with another name, arguments or principal.

        Below the middleware that passes it on, access is asked again.
        """
        return ToolCall(
            self.id,
            self.name if name is None else name,
            self.arguments_json if args is None else to_json(args, inf_nan_mode="constants"),
            self.principal if principal is None else principal,
            self.frame,
            [],
        )

    def __repr__(self) -> str:
        return f"ToolCall(id={self.id!r}, name={self.name!r})"


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run of an agent's code ended: a JSON result, or an error that is not raised."""

    ok: bool
    result: JsonValue
    error: Exception | None
    stats: RunStats
    run_id: str = ""

    def unwrap(self) -> JsonValue:
        """The result, or the error raised."""
        if self.error is not None:
            raise self.error
        return self.result


# Straight from a tuple of all fields, which on the hot path is twice as fast.
call_record: Callable[[tuple[Any, ...]], CallRecord] = partial(tuple.__new__, CallRecord)
tool_call: Callable[[tuple[Any, ...]], ToolCall] = partial(tuple.__new__, ToolCall)
