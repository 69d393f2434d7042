"""Answers that are read as they come."""

from __future__ import annotations

import gzip
import tracemalloc

import anyio
import pytest
from anyio.abc import ByteStream
from enclave_broker_network.decoding import PIECE
from enclave_broker_network.errors import BrokenAnswerError, RefusedError
from enclave_broker_network.messages import OutboundRequest
from raw_http import Received, answer, raw_server
from reaching import reaching

pytestmark = pytest.mark.anyio


async def test_a_body_comes_in_the_pieces_that_it_has() -> None:
    more = anyio.Event()

    async def slowly(received: Received, stream: ByteStream) -> None:
        await stream.send(answer(headers=[("X-Kind", "events")], body=b"one", sized=False))
        await more.wait()
        await stream.send(b"two")

    async with raw_server(slowly) as server, reaching(server) as outbound:
        async with outbound.stream(OutboundRequest("POST", server.url, body=b"{}")) as stream:
            assert (stream.status, stream.header("x-kind")) == (200, "events")
            assert await anext(stream.body) == b"one"
            more.set()
            assert [piece async for piece in stream.body] == [b"two"]
        assert server.got[0].body == b"{}"


async def test_one_that_is_left_early_closes_its_connection() -> None:
    left = anyio.Event()

    async def endlessly(received: Received, stream: ByteStream) -> None:
        await stream.send(answer(body=b"x", sized=False))
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        left.set()

    async with raw_server(endlessly) as server, reaching(server) as outbound:
        async with outbound.stream(OutboundRequest("GET", server.url)) as stream:
            assert await anext(stream.body) == b"x"
        with anyio.fail_after(5):
            await left.wait()


async def test_a_small_piece_is_not_decoded_into_a_large_one() -> None:
    packed = gzip.compress(bytes(200 * PIECE))
    said = answer(headers=[("Content-Encoding", "gzip")], body=packed)
    async with (
        raw_server(said) as server,
        reaching(server) as outbound,
        outbound.stream(OutboundRequest("GET", server.url)) as stream,
    ):
        tracemalloc.start()
        sizes = [len(piece) async for piece in stream.body]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (sum(sizes), max(sizes)) == (200 * PIECE, PIECE)
    assert most < 20 * PIECE


async def test_a_body_that_breaks_off_says_so() -> None:
    said = answer(body=b"x" * 10).replace(b"Content-Length: 10", b"Content-Length: 11")

    async def breaking(received: Received, stream: ByteStream) -> None:
        await stream.send(said)

    async with (
        raw_server(breaking) as server,
        reaching(server) as outbound,
        outbound.stream(OutboundRequest("GET", server.url)) as stream,
    ):
        with pytest.raises(BrokenAnswerError) as caught:
            _ = [piece async for piece in stream.body]
    assert caught.value.host == "127.0.0.1"


async def test_the_guard_judges_it_and_a_redirect_is_not_followed() -> None:
    said = answer(307, [("Location", "http://elsewhere.example/")])
    async with raw_server(said) as server, reaching(server) as outbound:
        with pytest.raises(RefusedError):
            async with outbound.stream(OutboundRequest("GET", "http://127.0.0.1:1/")):
                pass
        async with outbound.stream(OutboundRequest("GET", server.url)) as stream:
            assert stream.status == 307
        assert len(server.got) == 1
