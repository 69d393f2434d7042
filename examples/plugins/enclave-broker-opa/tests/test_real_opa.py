"""The policy on OPA itself, with the rules that stand in ``rego/``."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from enclave_broker_core.contracts import AccessRequest, OpenContext
from enclave_broker_core.models import Principal, Verdict

from enclave_broker_opa.config import OpaConfig
from enclave_broker_opa.policy import open_policy

OPA = shutil.which("opa")
REGO = Path(__file__).parents[1] / "rego"
ADA = Principal(id="ada", tenant="acme")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(OPA is None, reason="install opa (openpolicyagent.org), 1.0 or newer"),
]


@pytest.fixture(scope="module")
def opa() -> Iterator[str]:
    """Where a server of OPA listens, which takes a free port and logs it."""
    assert OPA is not None
    command = [OPA, "run", "--server", "--addr", "127.0.0.1:0", "--log-format", "json", str(REGO)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"127\.0\.0\.1:([1-9]\d*)", line):
                    break
            else:
                pytest.fail("OPA ended before it listened")
            yield f"http://127.0.0.1:{found[1]}/v1/data/broker"
        finally:
            process.kill()


def deploy(**arguments: str) -> AccessRequest:
    return AccessRequest("projects:deploy", ADA, arguments=arguments)


@pytest.mark.parametrize(
    ("asked", "verdict", "rule"),
    [
        (AccessRequest("notes:read", None), Verdict.ALLOW, "opa readers"),
        (AccessRequest("notes:write", ADA), Verdict.DENY, "opa default"),
        (deploy(project="web", stage="test"), Verdict.ALLOW, "opa owners"),
        (deploy(project="shop", stage="test"), Verdict.DENY, "opa default"),
        (deploy(project="web", stage="production"), Verdict.ASK, "opa owners"),
    ],
)
async def test_it_decides_as_the_rules_say(
    opa: str, asked: AccessRequest, verdict: Verdict, rule: str
) -> None:
    config = OpaConfig(url=f"{opa}/decision")
    async with open_policy(config, OpenContext("access")) as policy:
        decided = await policy.decide(asked)
    assert (decided.verdict, decided.rule) == (verdict, rule)


@pytest.mark.parametrize(
    ("path", "verdict", "rule"),
    [
        ("allow", Verdict.ALLOW, "opa"),
        ("ask", Verdict.DENY, "opa"),
        ("decisoin", Verdict.DENY, "opa undefined"),
        ("owners", Verdict.DENY, "opa failed"),
    ],
)
async def test_any_rule_may_be_asked_and_only_a_yes_is_one(
    opa: str, path: str, verdict: Verdict, rule: str
) -> None:
    config = OpaConfig(url=f"{opa}/{path}")
    async with open_policy(config, OpenContext("access")) as policy:
        decided = await policy.decide(AccessRequest("notes:read", None))
    assert (decided.verdict, decided.rule) == (verdict, rule)
