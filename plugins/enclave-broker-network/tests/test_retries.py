"""A request is sent again when it may be, and not before the service wants it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from anyio.abc import ByteStream
from enclave_broker_network.errors import (
    BrokenAnswerError,
    RefusedError,
    UnreachableError,
    UntrustedError,
)
from enclave_broker_network.messages import OutboundRequest, seconds_until
from enclave_broker_network.retries import Retries
from raw_http import Received, answer, raw_server
from reaching import reaching

pytestmark = pytest.mark.anyio

# The least that there is: the tests wait for what is told to wait, and for nothing else.
AT_ONCE = Retries(attempts=3, wait_initial=0.001, wait_max=0.002, wait_jitter=0)


def in_turn(*answers: bytes) -> Callable[[Received], bytes]:
    left = list(answers)
    return lambda received: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "QUERY", "PUT", "DELETE"])
async def test_what_may_be_repeated_is(status: int, method: str) -> None:
    body = b"" if method == "HEAD" else b"done"
    handle = in_turn(answer(status), answer(status), answer(200, body=body))
    async with raw_server(handle) as server, reaching(server) as outbound:
        response = await outbound.send(OutboundRequest(method, server.url), retries=AT_ONCE)
    assert (response.status, response.body, len(server.got)) == (200, body, 3)


@pytest.mark.parametrize("status", [400, 401, 404, 408, 409, 500, 501])
async def test_other_statuses_are_final(status: int) -> None:
    async with raw_server(answer(status)) as server, reaching(server) as outbound:
        response = await outbound.send(OutboundRequest("GET", server.url), retries=AT_ONCE)
    assert (response.status, len(server.got)) == (status, 1)


async def test_the_last_answer_is_given_when_it_stays_so() -> None:
    said = answer(503, [("Retry-After", "0")], b"busy")
    async with raw_server(said) as server, reaching(server) as outbound:
        response = await outbound.send(OutboundRequest("GET", server.url), retries=AT_ONCE)
    assert (response.status, response.body, response.retry_after()) == (503, b"busy", 0.0)
    assert len(server.got) == 3


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_what_may_not_be_repeated_is_not(method: str) -> None:
    async with raw_server(answer(503)) as server, reaching(server) as outbound:
        response = await outbound.send(OutboundRequest(method, server.url), retries=AT_ONCE)
        assert (response.status, len(server.got)) == (503, 1)
        request = OutboundRequest(method, server.url, idempotent=True)
        await outbound.send(request, retries=AT_ONCE)
        assert len(server.got) == 4
        await outbound.send(OutboundRequest("GET", server.url, idempotent=False), retries=AT_ONCE)
    assert len(server.got) == 5


async def test_without_retries_nothing_is_repeated() -> None:
    async with raw_server(answer(503)) as server, reaching(server) as outbound:
        await outbound.send(OutboundRequest("GET", server.url))
        await outbound.send(OutboundRequest("GET", server.url), retries=Retries(attempts=1))
    assert len(server.got) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_broken_connections_are_tried_again(method: str) -> None:
    async def handle(received: Received, stream: ByteStream) -> None:
        if len(server.got) == 3:
            await stream.send(answer(body=b"third"))

    async with raw_server(handle) as server, reaching(server) as outbound:
        request = OutboundRequest(method, server.url)
        if method == "GET":
            assert (await outbound.send(request, retries=AT_ONCE)).body == b"third"
        else:
            with pytest.raises(BrokenAnswerError):
                await outbound.send(request, retries=AT_ONCE)
    assert len(server.got) == (3 if method == "GET" else 1)


async def test_names_that_are_not_found_are_tried_again_and_refusals_are_not() -> None:
    asked = 0

    async def resolver(host: str, port: int) -> list[str]:
        nonlocal asked
        asked += 1
        return ["10.0.0.7"] if host == "inner.example" else []

    async with reaching(resolver=resolver, hosts=["*"]) as outbound:
        with pytest.raises(UnreachableError):
            await outbound.send(OutboundRequest("GET", "http://a.example"), retries=AT_ONCE)
        assert asked == 3
        with pytest.raises(RefusedError):
            await outbound.send(OutboundRequest("GET", "http://inner.example"), retries=AT_ONCE)
        assert asked == 4
    assert not UntrustedError.retryable


async def test_retry_after_is_waited_for() -> None:
    times: list[float] = []

    def handle(received: Received) -> bytes:
        times.append(time.monotonic())
        return answer(429, [("Retry-After", "1")]) if len(times) == 1 else answer(200)

    async with raw_server(handle) as server, reaching(server) as outbound:
        response = await outbound.send(OutboundRequest("GET", server.url), retries=AT_ONCE)
    assert response.status == 200
    assert times[1] - times[0] >= 1


@pytest.mark.parametrize("asked", ["30", "Fri, 31 Dec 2999 23:59:59 GMT"])
async def test_what_there_is_no_time_for_is_not_waited_for(asked: str) -> None:
    said = answer(503, [("Retry-After", asked)])
    async with raw_server(said) as server, reaching(server) as outbound:
        request = OutboundRequest("GET", server.url)
        response = await outbound.send(request, retries=AT_ONCE, within=20)
    assert (response.status, len(server.got)) == (503, 1)


async def test_the_last_error_is_told_when_there_is_no_time_to_wait() -> None:
    slow = Retries(attempts=5, wait_initial=30, wait_max=60)
    async with raw_server(answer(503)) as server, reaching(server) as outbound:
        response = await outbound.send(OutboundRequest("GET", server.url), retries=slow, within=20)
        assert response.status == 503
    async with reaching(server) as outbound:
        with pytest.raises(UnreachableError):
            await outbound.send(OutboundRequest("GET", server.url), retries=slow, within=20)
    assert len(server.got) == 1


NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 30, 999_999_999.0),
        ("Tue, 24 Nov 2026 12:00:30 GMT", 30.0),
        ("Tuesday, 24-Nov-26 12:00:30 GMT", 30.0),
        ("Tue Nov 24 12:00:30 2026", 30.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("١", None),
        ("Tue, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(said: str | None, seconds: float | None) -> None:
    assert seconds_until(said, NOW) == seconds
