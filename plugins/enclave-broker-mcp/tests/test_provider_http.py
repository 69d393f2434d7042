"""Servers at URLs: who is reached, what is shown to them, and what they may answer."""

from __future__ import annotations

import json
import math
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from enclave_broker_mcp.provider import health, keeper, web
from enclave_broker_mcp.provider.codes import BUSY
from enclave_broker_mcp.provider.errors import BusyServerError, ServerDownError, ServerError
from provider_fixtures import invoke, opened, until
from provider_service import JSON, Service, config, said
from raw_http import Received, answer, raw_server

from enclave_broker_core.contracts import OpenContext
from enclave_broker_core.errors import BrokerError, PluginError, ResultTooLargeError

pytestmark = [
    pytest.mark.anyio,
    # httpx2's readers of events, which the SDK leaves to the collector: trio warns of that.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object"),
]

EVENTS = ("Content-Type", "text/event-stream")
both = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@pytest.fixture
def anyio_backend() -> str:
    """One loop, but for what is special to each."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FIRST_RETRY", 0.05)
    monkeypatch.setattr(keeper, "LISTING_PAUSE", 0.01)


async def test_a_private_address_is_refused_unless_it_is_allowed() -> None:
    async with raw_server(Service()) as server:
        for network, why in (
            ({"schemes": ["http"]}, "it has a loopback address"),
            ({"allow_private": ["loopback"]}, "http is not among the allowed schemes"),
        ):
            with pytest.raises(PluginError, match=why):
                async with opened(config(server, network=network)):
                    pass
        assert server.got == []


async def test_headers_are_shown_to_the_server_as_they_are_at_each_request() -> None:
    tokens = iter(f"secret-token-{number}" for number in range(100))

    async def secret(name: str) -> str:
        assert name == "TOKEN"
        return next(tokens)

    context = OpenContext(
        "web", secret=secret, trace_headers=lambda: (("traceparent", "00-1-2-01"),)
    )
    async with raw_server(Service()) as server:
        made = config(server, headers={"Authorization": "Bearer {secret:TOKEN}", "X-Plain": "it"})
        async with opened(made, context) as provider:
            assert await invoke(provider, "web:do") is None
    shown = [one.header("authorization") for one in server.got]
    assert len(shown) == len(set(shown)) > 3
    assert {(one.header("x-plain"), one.header("traceparent")) for one in server.got} == {
        ("it", "00-1-2-01")
    }
    assert {one.header("user-agent") for one in server.got} == {"enclave-broker"}


async def test_a_secret_that_is_not_there_is_an_error_that_says_so() -> None:
    async with raw_server(Service()) as server:
        made = config(server, headers={"Authorization": "{secret:GONE}"})
        with pytest.raises(PluginError, match="no secret source knows 'GONE'"):
            async with opened(made):
                pass
    assert server.got == []


@both
@pytest.mark.parametrize(
    ("answered", "kind", "why"),
    [
        (answer(401), ServerError, "the server answered with status 401"),
        (answer(500, [JSON], b"{}"), ServerError, "the server answered with status 500"),
        (answer(200, [JSON], b"not json"), ServerError, "Failed to parse JSON response"),
        (answer(200, [("Content-Type", "text/html")], b"<p>"), ServerError, "Unexpected content"),
        (answer(202), ServerError, "202 Accepted"),
        (answer(303, [("Location", "https://elsewhere.example/")]), ServerError, "not followed"),
        (answer(200, [JSON], b"x" * 200_000), ResultTooLargeError, "more than 100000 bytes"),
        (answer(200, [EVENTS], b"data: " + b"x" * 200_000), ServerDownError, "SSE stream failed"),
        (answer(200, [EVENTS], b": nothing\n\n"), ServerDownError, "without a response"),
        (answer(200, [EVENTS], b"data: {}\n\n"), ServerError, "Failed to parse SSE message"),
        (answer(200, [JSON, ("Content-Encoding", "gzip")], b"x" * 99), ServerDownError, "encoding"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
async def test_an_answer_that_is_none_is_the_error_of_its_call(
    answered: bytes, kind: type[BrokerError], why: str
) -> None:
    service = Service(lambda message: answered)
    async with (
        raw_server(service) as server,
        opened(config(server, max_message_bytes=100_000)) as provider,
    ):
        with pytest.raises(kind, match=why) as caught:
            await invoke(provider, "web:do")
        assert len(caught.value.message) < 2100
        service.call = lambda message: said(message["id"], {"content": []})
        await until(lambda: provider.health.state == "healthy")
        assert await invoke(provider, "web:do") is None


async def test_a_server_that_answers_later_says_when() -> None:
    later = answer(503, [("Retry-After", "7")])
    async with (
        raw_server(Service(lambda message: later)) as server,
        opened(config(server)) as provider,
    ):
        with pytest.raises(BusyServerError) as caught:
            await invoke(provider, "web:do")
        assert (caught.value.retryable, caught.value.retry_after) == (True, 7.0)


@pytest.mark.parametrize(
    ("after", "seconds"), [(1e308, 86400.0), (-1.5, 0.0), (math.nan, 0.0), ("soon", None)]
)
async def test_a_server_is_not_believed_any_time(after: Any, seconds: float | None) -> None:
    error = {"code": BUSY, "message": "Later", "data": {"retryAfter": after}}
    refused = {"jsonrpc": "2.0", "id": None, "error": error}
    service = Service(lambda message: answer(503, [JSON], json.dumps(refused).encode()))
    async with raw_server(service) as server, opened(config(server)) as provider:
        with pytest.raises(BusyServerError, match="Later") as caught:
            await invoke(provider, "web:do")
        assert caught.value.retry_after == seconds


async def test_a_stream_that_ends_at_once_is_not_opened_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web, "STREAMS_PER_SECOND", 0.001)
    monkeypatch.setattr(web, "STREAMS_AT_ONCE", 3.0)
    service, streams = Service(), 0

    def again(received: Received) -> bytes:
        nonlocal streams
        if received.method != "GET":
            return service(received)
        streams += 1
        return answer(200, [EVENTS], b"retry: 0\nid: %d\ndata: \n\n" % streams)

    async with raw_server(again) as server, opened(config(server)) as provider:
        await until(lambda: streams >= 3)
        for _ in range(20):
            await invoke(provider, "web:do")
        assert streams == 3


async def test_an_error_of_the_protocol_with_a_status_is_that_error() -> None:
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "No such thing"}}
    refused = answer(400, [JSON], json.dumps(error).encode())
    async with (
        raw_server(Service(lambda message: refused)) as server,
        opened(config(server)) as provider,
    ):
        with pytest.raises(ServerError, match="the server refuses the call: No such thing"):
            await invoke(provider, "web:do")


@both
async def test_when_a_session_is_over_another_is_begun() -> None:
    service = Service()
    async with raw_server(service) as server, opened(config(server)) as provider:
        assert await invoke(provider, "web:do") is None
        service.session = "second"
        with pytest.raises(ServerError):
            await invoke(provider, "web:do")
        await until(lambda: provider.health.state == "stale")
        assert provider.health.reason == "it does not know the session any more"
        await until(lambda: provider.health.state == "healthy")
        assert await invoke(provider, "web:do") is None


@both
async def test_one_that_goes_away_is_reached_again_when_it_is_back() -> None:
    service, gone = Service(), False

    async def there(received: Received, stream: ByteStream) -> None:
        if not gone:
            await stream.send(service(received))

    async with raw_server(there) as server, opened(config(server)) as provider:
        assert await invoke(provider, "web:do") is None
        gone = True
        with pytest.raises(ServerDownError, match=r"the connection to web broke: 127\.0\.0\.1"):
            await invoke(provider, "web:do")
        await until(lambda: provider.health.state == "stale")
        with pytest.raises(ServerDownError, match="web can't be reached now"):
            await invoke(provider, "web:do")
        gone = False
        await until(lambda: provider.health.state == "healthy")
        assert await invoke(provider, "web:do") is None


@both
async def test_a_server_that_hangs_hangs_nobody() -> None:
    async def hang(received: Received, stream: ByteStream) -> None:
        await stream.receive()

    async with raw_server(hang) as server:
        with pytest.raises(PluginError, match=r"it did not start within 0\.3 s"):
            async with opened(config(server, start_timeout=0.3)):
                pass


async def test_nothing_is_known_of_a_server_that_is_not_there() -> None:
    async with raw_server(Service()) as server:
        made = config(server, required=False)
    async with opened(made) as provider:
        assert list(await provider.tools()) == []
        assert provider.health.state == "unhealthy"
        assert "127.0.0.1 can't be reached" in provider.health.reason


@both
async def test_calls_that_take_long_leave_a_way_to_the_server() -> None:
    """More of them than there may be connections: they wait, and nothing else has to."""
    service, waiting, go_on = Service(), 0, anyio.Event()

    async def slowly(received: Received, stream: ByteStream) -> None:
        nonlocal waiting
        if b"tools/call" in received.body:
            waiting += 1
            await go_on.wait()
        await stream.send(service(received))

    network = {"schemes": ["http"], "allow_private": ["loopback"], "max_connections_per_host": 5}
    network["timeouts"] = {"pool": 0.1}
    async with raw_server(slowly) as server:
        made = config(server, network=network, refresh=0.02)
        async with opened(made) as provider, anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(invoke, provider, "web:do")
            await until(lambda: waiting == 2)
            before = len(server.got)
            await until(lambda: len(server.got) >= before + 10)  # it is listed all the same
            assert (waiting, provider.health.state) == (2, "healthy")
            go_on.set()
        assert waiting == 6


async def test_the_sdk_logs_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    service = Service(lambda message: answer(200, [JSON], b'{"token": "secret-token-1"}'))
    service.session = "session-of-mine"
    async with raw_server(service) as server:
        made = config(server, headers={"Authorization": "secret-token-1"})
        url = f"{made.url}?key=secret-token-2"
        async with opened(made.model_copy(update={"url": url})) as provider:
            with pytest.raises(ServerError):
                await invoke(provider, "web:do")
    assert "[secret]" in caplog.text
    assert [text for text in ("secret-token", "session-of-mine") if text in caplog.text] == []
