"""The policy by itself, on a service that is there: its contract, and what it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio import to_thread
from enclave_broker_core.contracts import AccessPolicy, AccessRequest, OpenContext
from enclave_broker_core.models import Decision, Principal, Verdict
from enclave_broker_core.testing.policies import AccessPolicySuite
from opa_service import TOKEN, Service, opa_service

from enclave_broker_opa.config import OpaConfig
from enclave_broker_opa.policy import open_policy

ADA = Principal(
    id="ada", tenant="acme", roles=frozenset({"dev", "admin", "ops"}), attributes={"on": ["call"]}
)
WEB = {"project": "web", "stage": "test"}
DEPLOY = AccessRequest("projects:deploy", ADA, "s_1", {"ticket": 7}, WEB)
CONTEXT = OpenContext("access", trace_headers=lambda: (("traceparent", "00-4bf9-00f0-01"),))

pytestmark = pytest.mark.anyio


def opened(service: Service, **table: Any) -> Any:
    config = OpaConfig.model_validate({"url": service.url, "token": TOKEN, **table})
    return open_policy(config, CONTEXT)


class TestWithArguments(AccessPolicySuite):
    allowed = DEPLOY
    refused = DEPLOY._replace(arguments={**WEB, "project": "shop"})

    @asynccontextmanager
    async def open_policy(self) -> AsyncIterator[AccessPolicy]:
        with opa_service() as service:
            async with opened(service, max_at_once=4) as policy:
                yield policy


class TestWithoutThemAndWithACache(AccessPolicySuite):
    allowed = AccessRequest("notes:read", ADA)
    refused = AccessRequest("notes:write", ADA)
    loops = ("asyncio",)  # on trio it is no other

    @asynccontextmanager
    async def open_policy(self) -> AsyncIterator[AccessPolicy]:
        with opa_service() as service:
            table = {"arguments": False, "cache": {"seconds": 60}, "max_at_once": 4}
            async with opened(service, **table) as policy:
                yield policy


async def test_the_service_is_told_who_asks_for_what() -> None:
    with opa_service() as service:
        async with opened(service) as policy:
            await policy.decide(DEPLOY)
            await policy.decide(AccessRequest("notes:read", None))
    deploy, read = service.questions
    assert deploy == {
        "tool": "projects:deploy",
        "principal": {
            "id": "ada",
            "tenant": "acme",
            "roles": ["admin", "dev", "ops"],
            "attributes": {"on": ["call"]},
            "authenticated": True,
        },
        "session": {"id": "s_1", "metadata": {"ticket": 7}},
        "arguments": WEB,
    }
    assert read == {
        "tool": "notes:read",
        "principal": None,
        "session": {"id": None, "metadata": {}},
    }
    assert service.headers[0]["authorization"] == f"Bearer {TOKEN}"
    assert service.headers[0]["content-type"] == "application/json"
    assert service.headers[0]["traceparent"] == "00-4bf9-00f0-01"


@pytest.mark.parametrize("arguments", [True, False])
async def test_whether_it_judges_arguments_is_configured(arguments: bool) -> None:
    with opa_service() as service:
        async with opened(service, arguments=arguments) as policy:
            assert policy.judges_arguments is arguments
            assert not hasattr(policy, "stable")


async def test_a_connection_is_used_again() -> None:
    with opa_service() as service:
        async with opened(service) as policy:
            for _ in range(3):
                await policy.decide(DEPLOY)
    assert (len(service.questions), service.connections) == (3, 1)


async def test_no_more_are_asked_at_once_than_may_be() -> None:
    decided: list[Decision] = []

    with opa_service() as service:
        service.gate.clear()
        async with opened(service, max_at_once=2, timeout=30) as policy:

            async def ask() -> None:
                decided.append(await policy.decide(DEPLOY))

            async with anyio.create_task_group() as asking:
                for _ in range(7):
                    asking.start_soon(ask)
                for _ in range(2):
                    await to_thread.run_sync(service.asked.acquire)
                await anyio.wait_all_tasks_blocked()
                assert len(service.questions) == 2
                service.gate.set()
    assert [one.verdict for one in decided] == [Verdict.ALLOW] * 7
    assert service.connections == 2


async def test_what_is_no_json_is_not_asked_for() -> None:
    with opa_service() as service:
        async with opened(service) as policy:
            decided = await policy.decide(DEPLOY._replace(arguments={"n": float("inf")}))
    assert decided == Decision(Verdict.DENY, "opa failed", "what is to be judged is no JSON")
    assert service.questions == []


@pytest.mark.parametrize(
    ("cache", "change", "questions"),
    [
        (None, lambda asked: asked, 2),
        ({"seconds": 60}, lambda asked: asked, 1),
        ({"seconds": 60}, lambda asked: asked._replace(arguments=dict(reversed(WEB.items()))), 1),
        ({"seconds": 60}, lambda asked: asked._replace(arguments={**WEB, "stage": "x"}), 2),
        ({"seconds": 60}, lambda asked: asked._replace(session_id="s_2"), 2),
        ({"seconds": 60}, lambda asked: asked._replace(principal=None), 2),
        ({"seconds": 60}, lambda asked: asked._replace(tool="projects:drop"), 2),
    ],
)
async def test_with_a_cache_a_question_is_asked_once(
    cache: object, change: Callable[[AccessRequest], AccessRequest], questions: int
) -> None:
    with opa_service() as service:
        async with opened(service, cache=cache) as policy:
            assert (await policy.decide(DEPLOY)).allowed
            await policy.decide(change(DEPLOY))
    assert len(service.questions) == questions


async def test_a_failure_is_not_kept() -> None:
    with opa_service() as service:
        async with opened(service, cache={"seconds": 60}) as policy:
            service.answer = (500, {}, b"")
            assert not (await policy.decide(DEPLOY)).allowed
            service.answer = None
            assert (await policy.decide(DEPLOY)).allowed


async def test_a_rule_that_says_the_token_is_not_repeated() -> None:
    with opa_service(lambda asked: {"result": {"rule": TOKEN, "reason": f"<{TOKEN}>"}}) as service:
        async with opened(service) as policy:
            decided = await policy.decide(DEPLOY)
    assert decided == Decision(Verdict.DENY, "opa [secret]", "<[secret]>")
