"""The conformance suite for access policies."""

from __future__ import annotations

import copy
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import ClassVar

import pytest

from enclave_broker_core.contracts import AccessPolicy, AccessRequest
from enclave_broker_core.errors import BrokerError
from enclave_broker_core.models import Decision, Principal, Verdict

from . import hostile
from .checks import PatientSuite, cancel_at_each_wait, sync_methods
from .samples import at_once


def fresh(request: AccessRequest) -> AccessRequest:
    """An equal request that shares nothing with the one given."""
    return AccessRequest(
        request.tool,
        None if request.principal is None else request.principal.model_copy(deep=True),
        request.session_id,
        copy.deepcopy(dict(request.metadata)),
        None if request.arguments is None else copy.deepcopy(dict(request.arguments)),
    )


@pytest.mark.anyio
class AccessPolicySuite(PatientSuite):
    """Every sentence of the AccessPolicy contract as a test.

    Subclass it as ``class TestMyPolicy(AccessPolicySuite)``, override ``open_policy`` and
    give two requests: one that the policy allows, ``allowed``, and one that it does not,
    ``refused``. Of a policy that judges arguments both have some::

        class TestMyPolicy(AccessPolicySuite):
            allowed = AccessRequest("users:get", Principal(id="ada"))
            refused = AccessRequest("users:delete", Principal(id="ada"))

            @asynccontextmanager
            async def open_policy(self):
                yield MyPolicy(...)
    """

    allowed: ClassVar[AccessRequest]
    refused: ClassVar[AccessRequest]

    def open_policy(self) -> AbstractAsyncContextManager[AccessPolicy]:
        raise NotImplementedError("the subclass says how its policy is opened")

    def _open(self) -> AbstractAsyncContextManager[AccessPolicy]:
        return self.patiently(self.open_policy())

    async def test_decide_is_a_coroutine_function(self) -> None:
        async with self._open() as policy:
            assert sync_methods(policy, "decide") == []

    async def test_it_says_whether_it_judges_arguments(self) -> None:
        async with self._open() as policy:
            assert type(policy.judges_arguments) is bool
            for request in (self.allowed, self.refused):
                assert (request.arguments is not None) is policy.judges_arguments

    async def test_it_says_by_a_bool_whether_it_is_stable(self) -> None:
        """Anything else that is true would count as false."""
        async with self._open() as policy:
            assert type(getattr(policy, "stable", False)) is bool

    async def test_an_answer_is_a_decision_that_names_its_rule(self) -> None:
        async with self._open() as policy:
            for request in (self.allowed, self.refused):
                decision = await policy.decide(fresh(request))
                assert type(decision) is Decision
                assert type(decision.verdict) is Verdict
                assert type(decision.rule) is str
                assert decision.rule != ""
                assert type(decision.reason) is str

    async def test_what_is_allowed_is_allowed(self) -> None:
        async with self._open() as policy:
            decision = await policy.decide(fresh(self.allowed))
            assert decision.verdict is Verdict.ALLOW

    async def test_what_is_refused_is_refused(self) -> None:
        async with self._open() as policy:
            decision = await policy.decide(fresh(self.refused))
            assert decision.verdict in (Verdict.DENY, Verdict.ASK)

    async def test_asked_again_it_says_the_same(self) -> None:
        async with self._open() as policy:
            first = [await policy.decide(fresh(one)) for one in (self.allowed, self.refused)]
            again = [await policy.decide(fresh(one)) for one in (self.refused, self.allowed)]
            assert [decision.allowed for decision in first] == [True, False]
            assert again[::-1] == first
            assert [await policy.decide(fresh(self.allowed)) for _ in range(5)] == first[:1] * 5

    async def test_a_stable_policy_looks_at_tool_and_principal_only(self) -> None:
        """A session remembers its answers by these."""
        async with self._open() as policy:
            if getattr(policy, "stable", False) is not True or policy.judges_arguments:
                pytest.skip("this policy's answers are not remembered")
            for request in (self.allowed, self.refused):
                decision = await policy.decide(fresh(request))
                for other in (
                    fresh(request)._replace(session_id="s_other", metadata={}),
                    fresh(request)._replace(session_id=None, metadata={"role": "admin"}),
                    fresh(request)._replace(session_id="s_2"),
                ):
                    assert await policy.decide(other) == decision

    async def test_what_it_is_given_stays_as_it_is(self) -> None:
        async with self._open() as policy:
            for request in (self.allowed, self.refused):
                given = fresh(request)
                await policy.decide(given)
                assert given == fresh(request)

    async def test_it_keeps_nothing_of_what_it_was_given(self) -> None:
        """What becomes of one request's mappings later changes no answer."""
        async with self._open() as policy:
            for request in (self.allowed, self.refused):
                given = fresh(request)
                decision = await policy.decide(given)
                for mapping in (given.metadata, given.arguments):
                    if isinstance(mapping, dict):
                        mapping.clear()
                        mapping["changed"] = True
                assert await policy.decide(fresh(request)) == decision

    async def test_requests_at_once_do_not_mix(self) -> None:
        async with self._open() as policy:
            allowed = await policy.decide(fresh(self.allowed))
            refused = await policy.decide(fresh(self.refused))
            asked = [fresh(one) for one in (self.allowed, self.refused) * 8]
            answers = await at_once([partial(policy.decide, one) for one in asked])
            assert answers == [allowed, refused] * 8

    async def test_a_question_can_be_cancelled_wherever_it_waits(self) -> None:
        async with self._open() as policy:
            for request in (self.allowed, self.refused):
                decision = await policy.decide(fresh(request))
                await cancel_at_each_wait(lambda one=request: policy.decide(fresh(one)))  # type: ignore[misc]
                assert await policy.decide(fresh(request)) == decision

    async def test_odd_requests_get_a_decision_or_a_broker_error(self) -> None:
        odd = "\u202e\0" * 128
        callers = (
            None,
            Principal.anonymous(),
            Principal(id=odd, tenant="", roles=frozenset(hostile.NAMES)),
            Principal(id="a", attributes=hostile.arguments()),
        )
        async with self._open() as policy:
            arguments = hostile.arguments() if policy.judges_arguments else None
            for name in hostile.NAMES:
                for caller in callers:
                    await self._ask(policy, AccessRequest(name, caller, arguments=arguments))
            for request in (self.allowed, self.refused):
                for caller in (*callers, request.principal):
                    await self._ask(
                        policy,
                        AccessRequest(request.tool, caller, odd, hostile.arguments(), arguments),
                    )
            decision = await policy.decide(fresh(self.allowed))
            assert decision.allowed

    async def _ask(self, policy: AccessPolicy, request: AccessRequest) -> None:
        try:
            decision = await policy.decide(request)
        except BrokerError:
            return
        assert type(decision) is Decision
