"""Policies with one fault each, which the suite must find."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from enclave_broker_core.contracts import AccessRequest
from enclave_broker_core.models import Decision, Verdict
from enclave_broker_core.testing.policies import AccessPolicySuite


class Owners:
    """Allows a tool to those who have it among their attributes; looks it up, so it waits."""

    judges_arguments = False
    stable = True

    async def decide(self, request: AccessRequest) -> Any:
        await checkpoint()
        caller = request.principal
        return self.decision(caller is not None and request.tool in caller.attributes)

    def decision(self, allowed: bool) -> Decision:
        if allowed:
            return Decision(Verdict.ALLOW, "owner")
        return Decision(Verdict.DENY, "nobody's", "not among the caller's tools")


class SaysTrue(Owners):
    async def decide(self, request: AccessRequest) -> Any:
        return bool(await super().decide(request))


class SaysACoroutine(Owners):
    async def decide(self, request: AccessRequest) -> Any:
        return super().decide(request)


class NamesNoRule(Owners):
    def decision(self, allowed: bool) -> Decision:
        return Decision(Verdict.ALLOW if allowed else Verdict.DENY, "")


class IsSilentlySync(Owners):
    def decide(self, request: AccessRequest) -> Awaitable[Any]:  # type: ignore[override]
        return super().decide(request)


class AllowsEverybody(Owners):
    def decision(self, allowed: bool) -> Decision:
        return super().decision(True)


class RefusesEverybody(Owners):
    def decision(self, allowed: bool) -> Decision:
        return super().decision(False)


class TrustsMetadata(Owners):
    """And says that its answers can be remembered."""

    async def decide(self, request: AccessRequest) -> Any:
        if request.metadata.get("role") == "admin":
            return self.decision(True)
        return await super().decide(request)


class LetsInWhoeverCameBefore(Owners):
    def __init__(self) -> None:
        self._seen: set[str] = set()

    async def decide(self, request: AccessRequest) -> Any:
        decision = await super().decide(request)
        if request.tool in self._seen:
            return self.decision(True)
        self._seen.add(request.tool)
        return decision


class MarksTheRequest(Owners):
    async def decide(self, request: AccessRequest) -> Any:
        request.metadata["judged"] = True  # type: ignore[index]
        return await super().decide(request)


class KeepsTheMetadata(Owners):
    """What it saw first of a session it holds against the session."""

    def __init__(self) -> None:
        self._first: dict[str | None, Any] = {}

    async def decide(self, request: AccessRequest) -> Any:
        first = self._first.setdefault(request.session_id, request.metadata)
        if first != request.metadata:
            return Decision(Verdict.DENY, "changed")
        return await super().decide(request)


class MixesRequests(Owners):
    async def decide(self, request: AccessRequest) -> Any:
        self._request = request
        await checkpoint()
        return await super().decide(self._request)


class SwallowsItsCancellation(Owners):
    async def decide(self, request: AccessRequest) -> Any:
        try:
            return await super().decide(request)
        except BaseException:
            return self.decision(False)


class KeepsItsLockWhenCancelled(Owners):
    def __init__(self) -> None:
        self._free = anyio.Semaphore(1)

    async def decide(self, request: AccessRequest) -> Any:
        await self._free.acquire()
        decision = await super().decide(request)
        self._free.release()
        return decision


class FailsOnStrangers(Owners):
    async def decide(self, request: AccessRequest) -> Any:
        assert request.principal is not None
        return await super().decide(request)


class TakesNamesForPatterns(Owners):
    async def decide(self, request: AccessRequest) -> Any:
        import re

        re.compile(request.tool)
        return await super().decide(request)


class AsksForTruth(Owners):
    judges_arguments = 0  # type: ignore[assignment]


class IsStableByWord(Owners):
    stable = "yes"  # type: ignore[assignment]


class WantsArguments(Owners):
    judges_arguments = True


class LimitsAmounts(Owners):
    """Judges arguments."""

    judges_arguments = True

    async def decide(self, request: AccessRequest) -> Any:
        await checkpoint()
        amount = (request.arguments or {}).get("amount")
        return self.decision(type(amount) is int and amount <= 100)


class CapsTheAmount(LimitsAmounts):
    async def decide(self, request: AccessRequest) -> Any:
        arguments: Any = request.arguments
        arguments["amount"] = min(100, arguments.get("amount", 0))
        return await super().decide(request)


KNOWN_BAD = {
    AccessPolicySuite: {
        SaysTrue: {"an_answer_is_a_decision_that_names_its_rule"},
        SaysACoroutine: {"an_answer_is_a_decision_that_names_its_rule"},
        NamesNoRule: {"an_answer_is_a_decision_that_names_its_rule"},
        IsSilentlySync: {"decide_is_a_coroutine_function"},
        AllowsEverybody: {"what_is_refused_is_refused"},
        RefusesEverybody: {"what_is_allowed_is_allowed"},
        TrustsMetadata: {"a_stable_policy_looks_at_tool_and_principal_only"},
        LetsInWhoeverCameBefore: {"asked_again_it_says_the_same"},
        MarksTheRequest: {"what_it_is_given_stays_as_it_is"},
        KeepsTheMetadata: {"it_keeps_nothing_of_what_it_was_given"},
        MixesRequests: {"requests_at_once_do_not_mix"},
        SwallowsItsCancellation: {"a_question_can_be_cancelled_wherever_it_waits"},
        KeepsItsLockWhenCancelled: {"a_question_can_be_cancelled_wherever_it_waits"},
        FailsOnStrangers: {"odd_requests_get_a_decision_or_a_broker_error"},
        TakesNamesForPatterns: {"odd_requests_get_a_decision_or_a_broker_error"},
        AsksForTruth: {"it_says_whether_it_judges_arguments"},
        WantsArguments: {"it_says_whether_it_judges_arguments"},
        IsStableByWord: {"it_says_by_a_bool_whether_it_is_stable"},
    }
}
