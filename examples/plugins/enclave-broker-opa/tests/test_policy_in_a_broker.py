"""The policy in a real broker, from a configuration to a call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.harness import BrokerHarness, open_harness
from opa_service import TOKEN, Service, opa_service

import enclave_broker_opa

ADA = Principal(id="ada", tenant="acme")
WEB = {"project": "web", "stage": "test"}

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPA_TOKEN", TOKEN)


async def deploy(project: str, stage: str) -> str:
    return f"{project} is up in {stage}"


async def read() -> str:
    return "tea"


@asynccontextmanager
async def a_broker(service: Service, more: str = "") -> AsyncIterator[BrokerHarness]:
    # The plugin is given as a module, so that it need not be installed.
    config = f"""
plugins = ["memory"]

[access]
use = "opa"
url = "{service.url}"
token = "${{secret:OPA_TOKEN}}"
{more}
"""
    async with open_harness(config, enclave_broker_opa, environment=True) as harness:
        harness.broker.tool("projects:deploy")(deploy)
        harness.broker.tool("notes:read")(read)
        yield harness


async def test_calls_are_allowed_refused_and_asked_for() -> None:
    with opa_service() as service:
        async with a_broker(service) as harness:
            done = await harness.call("projects:deploy", WEB, principal=ADA)
            other = await harness.call("projects:deploy", {**WEB, "project": "shop"}, principal=ADA)
            asks = await harness.call(
                "projects:deploy", {**WEB, "stage": "production"}, principal=ADA
            )
    assert done.unwrap() == "web is up in test"
    assert (other.code, asks.code) == ("ACCESS_DENIED", "APPROVAL_REQUIRED")
    calls = [entry for entry in harness.audit if entry["event"] == "call"]
    assert [entry["decision"] for entry in calls] == ["allow", "deny", "ask"]
    assert [entry["rule"] for entry in calls[1:]] == ["opa default", "opa owners"]
    assert {header["authorization"] for header in service.headers} == {f"Bearer {TOKEN}"}
    assert service.questions[0]["session"]["id"]


async def test_without_the_service_nobody_may_and_operators_see_why() -> None:
    with opa_service() as service:
        async with a_broker(service) as harness:
            assert (await harness.call("notes:read")).unwrap() == "tea"
            service.answer = (503, {}, TOKEN.encode())
            refused = await harness.call("notes:read", principal=ADA)
            (explained,) = (await harness.broker.explain("notes:read", {})).decisions
            service.answer = None
            assert (await harness.call("notes:read")).unwrap() == "tea"
    # The agent is told nothing of the service.
    assert refused.code == "ACCESS_DENIED"
    assert str(refused.error) == "you may not use notes:read"
    assert [entry["rule"] for entry in harness.audit if entry["event"] == "call"][1] == "opa failed"
    assert (explained.rule, explained.reason) == ("opa failed", "the service answered 503")
    assert (
        harness.logged()
        == ["'notes:read' is refused, for nobody could be asked: the service answered 503"] * 2
    )
    assert TOKEN not in repr((harness.audit, harness.logged(), refused, explained))


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [("true", ["notes:read", "projects:deploy"]), ("false", ["notes:read"])],
)
async def test_who_asks_without_arguments_sees_only_what_it_may_use(
    arguments: str, seen: list[str]
) -> None:
    with opa_service() as service:
        async with (
            a_broker(service, f"arguments = {arguments}") as harness,
            harness.broker.session(principal=ADA) as session,
        ):
            tools = await session.visible_tools()
    assert sorted(spec.name for spec in tools.values()) == seen
    assert len(service.questions) == (0 if arguments == "true" else 2)


async def test_a_token_that_is_none_keeps_the_broker_from_opening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPA_TOKEN", "two words")
    with opa_service() as service, pytest.raises(Exception, match="no bearer token") as refused:
        async with a_broker(service):
            pass
    assert "two words" not in str(refused.value)
