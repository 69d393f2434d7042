"""The policy suite finds what is wrong with a policy, and says so in the test for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bad_policies import KNOWN_BAD, CapsTheAmount, KeepsItsLockWhenCancelled, LimitsAmounts, Owners

from enclave_broker_core.contracts import AccessPolicy, AccessRequest
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.policies import AccessPolicySuite

# What is wrong here leaves coroutines behind that nobody awaits.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:coroutine")]


class Suite(AccessPolicySuite):
    allowed = AccessRequest("wiki:edit", Principal(id="ada", attributes={"wiki:edit": True}))
    refused = AccessRequest("wiki:edit", Principal(id="bob"), "s_2", {"plan": "free"})

    def __init__(self, policy: Callable[[], Any]) -> None:
        self._policy = policy

    @asynccontextmanager
    async def open_policy(self) -> AsyncIterator[AccessPolicy]:
        yield self._policy()


class SuiteOfArguments(Suite):
    allowed = AccessRequest("pay", None, arguments={"amount": 100})
    refused = AccessRequest("pay", None, arguments={"amount": 101})


@pytest.mark.parametrize(("policy", "found_by"), KNOWN_BAD[AccessPolicySuite].items())
async def test_the_suite_finds(
    policy: Callable[[], Any],
    found_by: set[str],
    failures: Callable[[object], Awaitable[set[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if policy is KeepsItsLockWhenCancelled:
        monkeypatch.setattr(Suite, "patience", 0.5)  # it hangs and is given up
    assert found_by <= await failures(Suite(policy))


async def test_the_suite_finds_a_policy_that_changes_arguments(
    failures: Callable[[object], Awaitable[set[str]]],
) -> None:
    found = await failures(SuiteOfArguments(CapsTheAmount))
    assert "what_it_is_given_stays_as_it_is" in found


async def test_the_suite_finds_nothing_else(
    failures: Callable[[object], Awaitable[set[str]]],
) -> None:
    assert await failures(Suite(Owners)) == set()
    assert await failures(SuiteOfArguments(LimitsAmounts)) == set()
