"""What would become of a call, looked up without making it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from .access_stage import (
    IN_SESSION,
    NOT_AUTHENTICATED,
    NOT_IN_SESSION,
    ask,
    policy_name,
    refusal,
)
from .composition import Composition
from .contracts import AccessPolicy, AccessRequest, Tool
from .errors import (
    ArgumentsError,
    BrokerError,
    MaxToolCallsError,
    RateLimitedError,
    SecretError,
    ToolError,
    UnknownToolError,
)
from .failures import message_of
from .functions import arguments_text
from .json_form import NotJsonError
from .models import Decision, Verdict
from .registry import Catalog, bounded
from .viewpoint import Viewpoint

_log = logging.getLogger(__name__)

NEW_SESSION = ""  # the id of no session: nothing was ever counted for it


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """What one policy says, its rule and why; ``verdict`` is None when it can't be asked."""

    policy: str
    verdict: Verdict | None
    rule: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WindowRoom:
    """A window that the call would count in, ``max_calls`` in any ``seconds``.

    ``left`` is how many calls it has room for now, None when the limiter can't say.
    """

    scope: str
    max_calls: int
    seconds: float
    left: int | None


@dataclass(frozen=True, slots=True)
class CallExplanation:
    """What would become of a call of ``name`` now, as far as can be told without making it.

    ``tool`` is the tool's own name, None when there is none: then ``near`` has names that are
    like it. ``pattern`` is the pattern whose handler takes the call, None for a tool of that
    very name. ``refusal`` and ``message`` are the code and the text of the error that the
    caller would hear, None and "" when it would be let through. ``problems`` are the wrong
    fields of the arguments and why, () for none, None when no arguments were given.
    ``deadline`` is in seconds from the call's begin, and ``deadline_from`` says what sets it:
    "tool", "call_timeout" or "session". ``secrets`` says of each that the tool needs whether
    a source knows it. ``calls_left`` are the attempts that the session has, None for any
    number. Middleware is not asked: it may answer by itself or change the call. This is for
    operators: it shows rules that callers are not told of.
    """

    name: str
    tool: str | None
    pattern: str | None
    near: tuple[str, ...]
    refusal: str | None
    message: str
    decisions: tuple[PolicyAnswer, ...]
    windows: tuple[WindowRoom, ...]
    middleware: tuple[str, ...]
    problems: tuple[tuple[str, str], ...] | None
    deadline: float | None
    deadline_from: str | None
    secrets: Mapping[str, bool]
    calls_left: int | None

    @property
    def allowed(self) -> bool:
        """Whether the call would reach its handler, if no middleware stands in its way."""
        return self.refusal is None

    def to_json(self) -> dict[str, JsonValue]:
        """For machines: times are integer milliseconds."""
        wrong = self.problems
        return {
            "name": self.name,
            "allowed": self.allowed,
            "refusal": self.refusal and {"code": self.refusal, "message": self.message},
            "tool": self.tool,
            "pattern": self.pattern,
            "near": list(self.near),
            "decisions": [
                {
                    "policy": one.policy,
                    "verdict": one.verdict and one.verdict.value,
                    "rule": one.rule,
                    "reason": one.reason,
                }
                for one in self.decisions
            ],
            "windows": [
                {
                    "scope": one.scope,
                    "maxCalls": one.max_calls,
                    "windowMs": round(one.seconds * 1000),
                    "left": one.left,
                }
                for one in self.windows
            ],
            "middleware": list(self.middleware),
            "arguments": None
            if wrong is None
            else {
                "valid": not wrong,
                "problems": [{"field": field, "reason": reason} for field, reason in wrong],
            },
            "deadlineMs": None if self.deadline is None else round(self.deadline * 1000),
            "deadlineFrom": self.deadline_from,
            "secrets": dict(self.secrets),
            "callsLeft": self.calls_left,
        }


async def explain(
    opened: Composition,
    catalog: Catalog,
    view: Viewpoint,
    name: str,
    args: Mapping[str, Any] | None,
) -> CallExplanation:
    """Look at every stage that the call would pass, in their order; no stage is run."""
    asked = bounded(name)
    name = catalog.canonical(asked)
    look = _Look(opened, view, name)
    if view.over is not None:
        look.refused(view.over)
    text = None if args is None else look.text(args)
    if view.calls_left == 0:
        most = view.limits.max_tool_calls
        look.refused(MaxToolCallsError(f"the {most} tool calls of this session are used up"))
    tool = catalog.find(name)
    near: Sequence[str] = ()
    decisions: list[PolicyAnswer] = []
    windows: list[WindowRoom] = []
    secrets: dict[str, bool] = {}
    deadline: tuple[float, str] | None = None
    pattern = None
    if tool is None:
        near = await opened.access.near(view, catalog, name, view.principal)
        look.refused(UnknownToolError(f"there is no tool named {name!r}"))
    else:
        route = None if name in catalog.tools else catalog.routes.match(name)
        pattern = None if route is None or route.pattern.exact else route.pattern.text
        decisions += await look.access(tool)
        windows += await look.windows(tool)
        valid = None if text is None else look.arguments(tool, text)
        decisions += await look.judging(tool, valid)
        secrets = await look.secrets(tool)
        deadline = _deadline(tool, view)
    first = look.refusals[0] if look.refusals else None
    return CallExplanation(
        asked,
        None if tool is None else name,
        pattern,
        tuple(near),
        None if first is None else first.code,
        "" if first is None else first.message,
        tuple(decisions),
        tuple(windows),
        tuple(getattr(one, "__name__", type(one).__name__) for one in opened.middleware),
        look.problems,
        None if deadline is None else deadline[0],
        None if deadline is None else deadline[1],
        secrets,
        view.calls_left,
    )


class _Look:
    """One look at one call: every method is a stage, and notes the error that it would raise."""

    def __init__(self, opened: Composition, view: Viewpoint, name: str) -> None:
        self._opened = opened
        self._view = view
        self._name = name
        self.refusals: list[BrokerError] = []
        self.problems: tuple[tuple[str, str], ...] | None = None

    def refused(self, error: BrokerError) -> None:
        self.refusals.append(error)

    def text(self, args: Mapping[str, Any]) -> bytes | None:
        """The arguments as JSON text; None when they can't be any."""
        self.problems = ()
        try:
            return arguments_text(self._name, args, self._view.limits.max_argument_bytes)
        except ArgumentsError as error:
            self._wrong(error)
            return None

    def _wrong(self, error: BrokerError) -> None:
        fields = error.fields if isinstance(error, ArgumentsError) else ()
        self.problems = fields or (("", error.message),)
        self.refused(error)

    async def access(self, tool: Tool) -> list[PolicyAnswer]:
        """What every policy says that does not judge arguments."""
        view, answers = self._view, []
        if view.allowed is not None:
            inside = view.allowed.first(self._name) >= 0
            answers.append(self._answer("allowed_tools", IN_SESSION if inside else NOT_IN_SESSION))
        if tool.spec.requires_auth:
            stranger = view.principal is not None and not view.principal.authenticated
            known = Decision(Verdict.ALLOW, "requires_auth", "the caller is authenticated")
            answers.append(self._answer("requires_auth", NOT_AUTHENTICATED if stranger else known))
        request = AccessRequest(self._name, view.principal, view.id, view.metadata)
        return answers + [
            await self._ask(policy, request)
            for policy in self._opened.policies
            if not policy.judges_arguments
        ]

    async def judging(self, tool: Tool, valid: tuple[Any] | None) -> list[PolicyAnswer]:
        """What the policies say that judge arguments, of valid ones."""
        policies = [policy for policy in self._opened.policies if policy.judges_arguments]
        if valid is None:
            wrong = "no arguments are given" if self.problems is None else "the arguments are wrong"
            return [PolicyAnswer(policy_name(one), None, reason=wrong) for one in policies]
        view = self._view
        request = AccessRequest(
            self._name, view.principal, view.id, view.metadata, tool.dump(valid[0])
        )
        return [await self._ask(policy, request) for policy in policies]

    async def _ask(self, policy: AccessPolicy, request: AccessRequest) -> PolicyAnswer:
        return self._answer(policy_name(policy), await ask(policy, request))

    def _answer(self, policy: str, decision: Decision) -> PolicyAnswer:
        if decision.verdict is not Verdict.ALLOW:
            self.refused(refusal(self._name, decision))
        # A policy of somebody's own may speak of the secret that it asks a service with.
        blotted = self._opened.redactor.text
        return PolicyAnswer(
            policy, decision.verdict, blotted(decision.rule), blotted(decision.reason)
        )

    async def windows(self, tool: Tool) -> list[WindowRoom]:
        """Every window that the call would count in, and what is left in each."""
        view, limits = self._view, self._opened.limits
        session_id = NEW_SESSION if view.id is None else view.id
        found = limits.rates.windows(session_id, self._name, view.principal, tool.spec)
        left: Sequence[int | None] = [None] * len(found)
        remaining = getattr(limits.limiter, "remaining", None)
        if remaining is not None and found:
            try:
                left = list(await remaining(found))
            except Exception as problem:
                _log.warning("the limiter can't say what is left: %s", message_of(problem))
        rooms = [
            WindowRoom(window.scope, window.max_calls, window.seconds, room)
            for window, room in zip(found, left, strict=True)
        ]
        for room in rooms:
            if room.left == 0:
                said = f"{room.max_calls} calls in {room.seconds:g} s ({room.scope})"
                self.refused(
                    RateLimitedError(
                        f"{self._name}: the limit of {said} is reached",
                        scope=room.scope,
                        limit=room.max_calls,
                        retry_after=float("inf"),
                    )
                )
        return rooms

    def arguments(self, tool: Tool, text: bytes) -> tuple[Any] | None:
        """The validated arguments, in a tuple, for they may be anything; None for wrong ones."""
        try:
            return (tool.validate(text),)
        except BrokerError as error:
            self._wrong(error)
        except NotJsonError as problem:
            self._wrong(ArgumentsError(f"the arguments of {self._name}: {problem}"))
        except Exception as problem:
            self._wrong(ToolError(message_of(problem)))
        return None

    async def secrets(self, tool: Tool) -> dict[str, bool]:
        known = {name: await self._opened.secrets.knows(name) for name in tool.spec.secrets}
        for name in (name for name, found in known.items() if not found):
            self.refused(SecretError(f"no secret source knows {name!r}"))
        return known


def _deadline(tool: Tool, view: Viewpoint) -> tuple[float, str]:
    """When the call would be stopped, in seconds, and by what; of equals the first of these."""
    times = [
        (tool.spec.timeout, "tool"),
        (view.limits.call_timeout, "call_timeout"),
        (view.seconds_left, "session"),
    ]
    return min(((time, origin) for time, origin in times if time is not None), key=lambda t: t[0])
