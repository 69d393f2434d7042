"""The policy by itself: the suite of its contract, then what it decides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from enclave_broker_core.contracts import AccessPolicy, AccessRequest, OpenContext
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.policies import AccessPolicySuite
from pydantic import JsonValue, ValidationError

from enclave_broker_example_policy.config import OwnerConfig
from enclave_broker_example_policy.policy import open_policy

ADA = Principal(id="ada", roles=frozenset({"user"}))
ROOT = Principal(id="root", roles=frozenset({"admin"}))
CONFIG = OwnerConfig(tools="notes:*", exempt_roles=frozenset({"admin"}))


def asked(caller: Principal | None, tool: str = "notes:read", **args: JsonValue) -> AccessRequest:
    return AccessRequest(tool, caller, arguments=args)


class TestOwnerPolicy(AccessPolicySuite):
    allowed = asked(ADA, owner="ada")
    refused = asked(ADA, owner="bob")

    @asynccontextmanager
    async def open_policy(self) -> AsyncIterator[AccessPolicy]:
        async with open_policy(CONFIG, OpenContext("access")) as policy:
            yield policy


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("request_", "allowed", "rule"),
    [
        (asked(ADA, owner="ada"), True, "argument owner"),
        (asked(ADA, owner="Ada"), False, "argument owner"),
        (asked(ADA, owner=["ada"]), False, "argument owner"),
        (asked(ADA), False, "argument owner"),
        (asked(Principal.anonymous(), owner="ada"), False, "argument owner"),
        (asked(ROOT, owner="ada"), True, "exempt_roles"),
        (asked(ROOT), True, "exempt_roles"),
        (asked(None, owner="ada"), True, "program"),
        (asked(ADA, "users:get", owner="bob"), True, "other tools"),
    ],
)
async def test_who_may_name_whom(request_: AccessRequest, allowed: bool, rule: str) -> None:
    async with open_policy(CONFIG, OpenContext("access")) as policy:
        decision = await policy.decide(request_)
    assert (decision.allowed, decision.rule) == (allowed, rule)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"tools": "[", "argument": "owner"}, {"tools": "*", "argument": ""}, {"tool": "*"}],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        OwnerConfig.model_validate(wrong)
