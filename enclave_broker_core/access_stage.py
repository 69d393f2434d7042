"""The access stage: asks the policies, above the middleware and again below it."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from .calls import ToolCall
from .contracts import AccessPolicy, AccessRequest, CallNext
from .errors import AccessDeniedError, ApprovalRequiredError, BrokerError, UnknownToolError
from .frame import Asking, CallFrame
from .lanes import Lane
from .models import Decision, Principal, ToolSpec, Verdict
from .registry import Catalog

_log = logging.getLogger(__name__)

MOST_LANES = 1024

NOT_AUTHENTICATED = Decision(Verdict.DENY, "requires_auth", "the caller is not authenticated")
NOT_IN_SESSION = Decision(Verdict.DENY, "allowed_tools", "not among the session's tools")
IN_SESSION = Decision(Verdict.ALLOW, "allowed_tools")
NO_POLICY = Decision(Verdict.ALLOW, "no policy")


class Access:
    """Asks whether a caller may use a tool; every policy has to allow it."""

    def __init__(self, policies: Sequence[AccessPolicy]) -> None:
        self._policies = tuple(policy for policy in policies if not policy.judges_arguments)
        self._stable = all(getattr(policy, "stable", False) is True for policy in self._policies)

    def first(self, call_next: CallNext) -> CallNext:
        """The stage above the middleware."""

        async def run(call: ToolCall) -> Any:
            frame: CallFrame = call.frame
            lane = frame.session.lanes.get(call.name)
            if (
                lane is None
                or lane.catalog is not frame.catalog
                or lane.principal is not call.principal
                or lane.access is not self
            ):
                lane = await self._open_lane(call)
            decision = lane.decision
            if decision is None:
                session, spec = frame.session, lane.tool.spec
                decision = await self.decide(session, call.name, spec, call.principal)
                if self._stable:
                    lane.decision = decision
            frame.decision = decision
            frame.rule = decision.rule
            if decision.verdict is not Verdict.ALLOW:
                raise refusal(call.name, decision)
            call.grant.append(lane)
            return await call_next(call)

        return run

    async def _open_lane(self, call: ToolCall) -> Lane:
        frame: CallFrame = call.frame
        tool = frame.catalog.find(call.name)
        if tool is None:
            raise UnknownToolError(await self._unknown(call))
        lanes = frame.session.lanes
        if len(lanes) >= MOST_LANES:
            lanes.clear()
        lane = Lane(tool, frame.catalog, call.principal, frame.session.limits, self)
        lanes[call.name] = lane
        return lane

    def again(self, call_next: CallNext) -> CallNext:
        """The stage below the middleware: looks only at a call that was changed."""
        look = self.first(call_next)

        def run(call: ToolCall) -> Coroutine[Any, Any, Any]:
            return call_next(call) if call.grant else look(call)

        return run

    async def decide(
        self, session: Asking, name: str, spec: ToolSpec, principal: Principal | None
    ) -> Decision:
        """The decision on caller and tool, without their arguments."""
        decision = NO_POLICY
        if session.allowed is not None:
            if session.allowed.first(name) < 0:
                return NOT_IN_SESSION
            decision = IN_SESSION
        if spec.requires_auth and principal is not None and not principal.authenticated:
            return NOT_AUTHENTICATED
        if self._policies:
            request = AccessRequest(name, principal, session.id, session.metadata)
            for policy in self._policies:
                decision = await ask(policy, request)
                if decision.verdict is not Verdict.ALLOW:
                    return decision
        return decision

    async def visible(self, session: Asking, catalog: Catalog) -> Mapping[str, ToolSpec]:
        """The tools that the session's principal may use, by external name."""
        return {
            catalog.external_of[name]: tool.spec
            for name, tool in catalog.tools.items()
            if (await self.decide(session, name, tool.spec, session.principal)).allowed
        }

    async def _unknown(self, call: ToolCall) -> str:
        """What to say of a name that no tool has: near names, of the caller's own tools only."""
        frame: CallFrame = call.frame
        near = await self.near(frame.session, frame.catalog, call.name, call.principal)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        return f"there is no tool named {call.name!r}{hint}"

    async def near(
        self, session: Asking, catalog: Catalog, name: str, principal: Principal | None
    ) -> list[str]:
        """Up to three names that are like ``name``, of tools that the principal may use."""
        tools = catalog.tools
        return [
            other
            for other in difflib.get_close_matches(name, tools, n=10, cutoff=0.6)
            if (await self.decide(session, other, tools[other].spec, principal)).allowed
        ][:3]


async def ask(policy: AccessPolicy, request: AccessRequest) -> Decision:
    """A policy's decision. One that raises, or answers anything else, true for example,
    refuses."""
    name = policy_name(policy)
    try:
        decision = await policy.decide(request)
    except Exception as problem:
        _log.error("the access policy %s failed: refused", name, exc_info=problem)
        return Decision(Verdict.DENY, name, f"it failed: {problem}")
    if type(decision) is not Decision:
        _log.error("the access policy %s answered %r: refused", name, decision)
        return Decision(Verdict.DENY, name, "its answer is not a Decision")
    return decision


def refusal(name: str, decision: Decision) -> BrokerError:
    """A decision that does not allow, as the caller sees it: without its rule."""
    if decision.verdict is Verdict.ASK:
        return ApprovalRequiredError(f"{name} needs an approval, and nobody is here to give it")
    return AccessDeniedError(f"you may not use {name}")


def policy_name(policy: AccessPolicy) -> str:
    return type(policy).__name__
