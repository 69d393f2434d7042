"""HTTP tools in a broker: catalog, progress, secrets, retries, limits, deadlines, reload."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import pytest
from anyio.abc import ByteStream
from enclave_broker_http.tool import BusyServiceError
from http_source import calling, open_calling
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_http import Received, answer, raw_server, silence

from enclave_broker_core import (
    ArgumentsError,
    BrokerError,
    SecretError,
    ToolError,
    ToolTimeoutError,
)
from enclave_broker_core.testing.checks import logged

pytestmark = pytest.mark.anyio

JSON = [("Content-Type", "application/json")]
AT_ONCE = {"attempts": 3, "wait_initial": 0.001, "wait_max": 0.002, "wait_jitter": 0}


async def test_a_whole_schema_may_be_given() -> None:
    schema = {
        "properties": {"a": {"$ref": "#/$defs/Name"}},
        "required": ["a"],
        "$defs": {"Name": {"type": "string", "pattern": "^[a-z]+$"}},
    }
    request = {"url": "/{a}", "arguments": schema}
    async with raw_server(answer()) as server, calling(server, request) as session:
        await session.call("t", {"a": "ada", "other": 1})
        with pytest.raises(ArgumentsError):
            await session.call("t", {"a": "Ada"})
    assert [one.target for one in server.got] == ["/ada"]


async def test_progress_is_in_the_sessions_events() -> None:
    said = answer(200, JSON, b"[1,2]")
    async with raw_server(said) as server, calling(server, {}) as session:
        await session.call("t")
        await session.complete()
        events = [event async for event in session.events()]
    told = [event.payload for event in events if event.type == "tool_progress"]
    assert [one["phase"] for one in told] == ["connecting", "sending", "receiving"]
    assert (told[-1]["bytesReceived"], told[-1]["totalBytes"]) == (5, 5)


async def test_progress_can_be_switched_off() -> None:
    async with raw_server(answer()) as server, calling(server, {}, progress=False) as session:
        await session.call("t")
        await session.complete()
        types = [event.type async for event in session.events()]
    assert "tool_progress" not in types


# Secrets


async def test_a_rotated_secret_is_used_at_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    auth = {"type": "bearer", "token": "{secret:ROTATED}"}
    async with raw_server(answer()) as server, calling(server, {}, auth=auth) as session:
        for value in ("first-value", "second-value"):
            monkeypatch.setenv("ROTATED", value)
            await session.call("t")
    sent = [one.header("authorization") for one in server.got]
    assert sent == ["Bearer first-value", "Bearer second-value"]


async def test_a_secret_that_nobody_has_ends_the_call() -> None:
    request = {"headers": {"X-Key": "{secret:NO_SUCH_SECRET}"}}
    async with raw_server(answer()) as server, calling(server, request) as session:
        with pytest.raises(SecretError, match="NO_SUCH_SECRET"):
            await session.call("t")
    assert server.got == []


@pytest.mark.parametrize("value", ["line\r\nX-Evil: 1", "trailing\n", "ключ-ключ", "a\0b-and-more"])
async def test_a_secret_that_can_not_stand_in_a_header_ends_the_call(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {"headers": {"X-Key": "{secret:ODD}"}}
    if "\0" in value:
        value = value.replace("\0", "\x01")  # what an environment can hold
    monkeypatch.setenv("ODD", value)
    async with raw_server(answer()) as server, calling(server, request) as session:
        with pytest.raises(SecretError, match="X-Key") as caught:
            await session.call("t")
    assert server.got == []
    assert value not in caught.value.message


async def test_secrets_may_stand_in_query_and_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "k&y=/{x}")
    request = {
        "method": "POST",
        "query": {"key": "{secret:KEY}"},
        "body": {"json": {"key": "{secret:KEY}", "both": "<{secret:KEY}>"}},
    }
    async with raw_server(answer()) as server, calling(server, request) as session:
        await session.call("t")
    (got,) = server.got
    assert got.target == "/?key=k%26y%3D%2F%7Bx%7D"
    assert got.body == b'{"key":"k&y=/{x}","both":"<k&y=/{x}>"}'


async def test_no_log_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hunter22-hunter22")
    source: dict[str, Any] = {
        "auth": {"type": "bearer", "token": "{secret:KEY}"},
        "query": {"key": "{secret:KEY}"},
        "retries": AT_ONCE,
    }
    async with raw_server(answer(503)) as server, calling(server, {}, **source) as session:
        with logged() as texts, pytest.raises(BusyServiceError):
            await session.call("t")
    assert len(server.got) == 3
    assert any("stamina" in text for text in texts)
    assert [text for text in texts if "hunter22" in text] == []


async def test_credentials_stay_with_their_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hunter22-hunter22")
    source: dict[str, Any] = {
        "auth": {"type": "bearer", "token": "{secret:KEY}"},
        "headers": {"X-Key": "{secret:KEY}", "Cookie": "k={secret:KEY}"},
        "query": {"key": "{secret:KEY}"},
    }
    async with raw_server(answer(200, JSON, b'"there"')) as there:
        moved = answer(302, [("Location", f"{there.url}/x")])
        async with raw_server(moved) as here:
            network = {"hosts": ["127.0.0.1"], "ports": [there.port]}
            async with calling(here, {}, network=network, **source) as session:
                assert await session.call("t") == "there"
    assert "hunter22" in f"{here.got}"
    assert "hunter22" not in f"{there.got}"


# Retries, deadlines


@pytest.mark.parametrize(("method", "times"), [("GET", 3), ("PUT", 3), ("POST", 1), ("PATCH", 1)])
async def test_only_what_is_idempotent_is_sent_again(method: str, times: int) -> None:
    busy = answer(503, [("Retry-After", "0")], b"later")
    request = {"method": method, "retries": AT_ONCE}
    async with raw_server(busy) as server, calling(server, request) as session:
        with pytest.raises(BusyServiceError) as caught:
            await session.call("t")
    assert len(server.got) == times
    assert (caught.value.status, caught.value.retry_after) == (503, 0.0)


async def test_retries_of_the_source_hold_for_all_and_end_with_an_answer() -> None:
    def handle(received: Received) -> bytes:
        return answer(200, JSON, b"3") if len(server.got) == 3 else answer(502)

    async with raw_server(handle) as server, calling(server, {}, retries=AT_ONCE) as session:
        assert await session.call("t") == 3


async def test_a_deadline_ends_the_request() -> None:
    request = {"timeout": 0.1}
    async with raw_server(silence) as server, calling(server, request) as session:
        with pytest.raises(ToolTimeoutError):
            await session.call("t")
        while server.open:
            await anyio.lowlevel.checkpoint()


async def test_the_end_of_a_session_ends_its_requests() -> None:
    async with raw_server(silence) as server, open_calling(server, {}) as broker:
        session = await broker.create_session()
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                with contextlib.suppress(BrokerError):
                    await session.call("t")

            tasks.start_soon(call)
            while not server.got:
                await anyio.lowlevel.checkpoint()
            await session.cancel()
        while server.open:
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
async def test_a_service_that_breaks_off_is_an_error_of_the_tool(begun: bytes) -> None:
    async def handle(received: Received, stream: ByteStream) -> None:
        await stream.send(begun)

    async with raw_server(handle) as server, calling(server, {}) as session:
        with pytest.raises(BrokerError, match=r"127\.0\.0\.1") as caught:
            await session.call("t")
    assert caught.value.code == "TOOL_ERROR"


# Whatever arguments come, the request is the one that was described


REQUEST: dict[str, Any] = {
    "method": "POST",
    "url": "/p/{id}/q{?q,list*}",
    "query": {"r": "{r}"},
    "headers": {"X-H": "<{h}>"},
    "parameters": {
        "id": "string",
        "q": "string?",
        "list": {"type": "array", "items": {"type": "string"}, "required": False},
        "r": "string?",
        "h": "string?",
        "body": {"required": False},
    },
    "body": {"json": "{body}"},
}
texts = (
    st.text("abcXYZ09 -_.", max_size=8)
    | st.text(max_size=12)
    | st.text(alphabet="./\\%2eEfF5cC?#&;:=@\r\n\t\0 a{}", max_size=8)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


async def test_no_generated_argument_changes_path_host_or_headers() -> None:
    async with raw_server(answer()) as server, calling(server, REQUEST, progress=False) as session:

        async def one(arguments: dict[str, Any]) -> None:
            before = len(server.got)
            try:
                await session.call("t", arguments)
            except ArgumentsError:
                assert len(server.got) == before
                return
            (got,) = server.got[before:]
            url = urlsplit(got.target)
            # The very segment, and nothing else of the path.
            segments = url.path.split("/")
            assert [segments[0], segments[1], segments[3:]] == ["", "p", ["q"]]
            assert got.method == "POST"
            assert got.header("host") == f"127.0.0.1:{server.port}"
            names = [name.lower() for name, _ in got.headers]
            expected = ["host", "accept-encoding", "x-h", "content-type", "user-agent", "accept"]
            missing = {"x-h"} - ({"x-h"} if "h" in arguments else set())
            missing |= set() if "body" in arguments else {"content-type"}
            assert names == [name for name in expected if name not in missing] + ["content-length"]
            if "h" in arguments:
                assert got.header("x-h") == f"<{arguments['h']}>"
            pairs = parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query))
            wanted = [("q", arguments["q"])] if "q" in arguments else []
            wanted += [("list", item) for item in arguments.get("list", [])]
            wanted += [("r", arguments["r"])] if "r" in arguments else []
            assert pairs == wanted

        await examples(one)
        assert len(server.got) > 20  # and not all were refused


async def examples(check: Any) -> None:
    """Run ``check`` on generated arguments, on the loop that the test is on."""
    found: list[dict[str, Any]] = []

    @settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None)
    @given(
        st.fixed_dictionaries(
            {"id": texts},
            optional={
                "q": texts,
                "list": st.lists(texts, max_size=3),
                "r": texts,
                "h": texts,
                "body": json_values,
            },
        )
    )
    def collect(arguments: dict[str, Any]) -> None:
        found.append(arguments)

    await anyio.to_thread.run_sync(collect)
    for arguments in found:
        await check(arguments)


async def test_an_error_of_the_network_is_an_error_of_the_tool() -> None:
    async with raw_server(answer()) as server:
        pass
    async with calling(server, {}) as session:
        with pytest.raises(BrokerError, match="can't be reached") as caught:
            await session.call("t")
    assert isinstance(caught.value, ToolError)
