"""A service that does not answer, or not so: each call is refused, and operators are told why."""

from __future__ import annotations

import logging

import anyio
import pytest
from anyio import to_thread
from enclave_broker_core.contracts import AccessRequest, OpenContext
from enclave_broker_core.models import Decision, Verdict
from opa_service import TOKEN, Service, opa_service

from enclave_broker_opa.config import OpaConfig
from enclave_broker_opa.policy import open_policy

READ = AccessRequest("notes:read", None)
YES = b'{"result": true}'

pytestmark = pytest.mark.anyio


async def decided(service: Service, *, seconds: float = 30) -> Decision:
    table = {"url": service.url, "token": TOKEN, "timeout": seconds, "max_bytes": 1000}
    async with open_policy(OpaConfig.model_validate(table), OpenContext("access")) as policy:
        return await policy.decide(READ)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((500, {}, YES), "answered 500"),
        ((401, {}, b'{"code": "unauthorized"}'), "answered 401"),
        ((200, {}, b"<html>It works!</html>"), "neither a bool nor an object"),
        ((200, {}, b'{"result": true, "x": "' + b"x" * 2000 + b'"}'), "larger than 1000 bytes"),
        ((200, {"Content-Length": "100000000"}, YES), "larger than 1000 bytes"),
        ((200, {"Content-Length": "500", "Connection": "close"}, YES), "broke off"),
        ((200, {"Content-Encoding": "gzip"}, YES), "encoding that it says"),
        ((307, {"Location": "/v1/data/broker/yes"}, b""), "redirect"),
        ((307, {"Location": "http://169.254.169.254/"}, b""), "redirect"),
    ],
)
async def test_an_answer_that_is_none_refuses(
    answer: tuple[int, dict[str, str], bytes], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with opa_service() as service:
        service.answer = answer
        refused = await decided(service)
    assert (refused.verdict, refused.rule) == (Verdict.DENY, "opa failed")
    assert why in refused.reason
    assert len(service.questions) == 1
    (line,) = [one for one in caplog.records if one.name.startswith("enclave_broker_opa")]
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)
    assert refused.reason in line.getMessage()
    assert "'notes:read' is refused" in line.getMessage()
    assert TOKEN not in caplog.text + refused.reason


async def test_a_service_that_hangs_up_refuses_and_is_asked_again_next_time() -> None:
    with opa_service() as service:
        table = {"url": service.url}
        async with open_policy(OpaConfig.model_validate(table), OpenContext("access")) as policy:
            assert (await policy.decide(READ)).allowed
            service.hang_up = True
            refused = await policy.decide(READ)
            service.hang_up = False
            assert (await policy.decide(READ)).allowed
    assert (refused.verdict, refused.rule) == (Verdict.DENY, "opa failed")
    assert service.connections == 2


async def test_a_service_that_is_slow_refuses() -> None:
    with opa_service() as service:
        service.gate.clear()
        refused = await decided(service, seconds=0.1)
    assert refused == Decision(Verdict.DENY, "opa failed", "127.0.0.1 did not answer within 0.1 s")


async def test_who_has_to_wait_for_a_connection_waits_no_longer_than_for_an_answer() -> None:
    with opa_service() as service:
        service.gate.clear()
        table = {"url": service.url, "max_at_once": 1, "timeout": 0.1}
        async with open_policy(OpaConfig.model_validate(table), OpenContext("access")) as policy:
            refused: list[Decision] = []

            async def ask() -> None:
                refused.append(await policy.decide(READ))

            async with anyio.create_task_group() as asking:
                for _ in range(3):
                    asking.start_soon(ask)
    assert [one.rule for one in refused] == ["opa failed"] * 3


async def test_a_question_that_is_cancelled_leaves_the_connection_to_the_next() -> None:
    with opa_service() as service:
        table = {"url": service.url, "max_at_once": 1, "timeout": 30}
        async with open_policy(OpaConfig.model_validate(table), OpenContext("access")) as policy:
            service.gate.clear()
            async with anyio.create_task_group() as asking:
                asking.start_soon(policy.decide, READ)
                await to_thread.run_sync(service.asked.acquire)
                asking.cancel_scope.cancel()
            service.gate.set()
            assert (await policy.decide(READ)).allowed


async def test_nobody_there_refuses() -> None:
    with opa_service() as service:
        pass
    refused = await decided(service)
    assert refused == Decision(Verdict.DENY, "opa failed", "127.0.0.1 can't be reached")
