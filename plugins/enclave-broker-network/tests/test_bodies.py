"""How much of an answer is taken: on the wire, decoded, and of its headers."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import anyio
import pytest
from anyio.abc import ByteStream
from enclave_broker_network.decoding import PIECE, Encodings
from enclave_broker_network.errors import AnswerTooLargeError, BrokenAnswerError
from enclave_broker_network.messages import OutboundRequest
from hypothesis import given
from hypothesis import strategies as st
from raw_http import Received, answer, raw_server
from reaching import reaching

pytestmark = pytest.mark.anyio

MOST = 100_000


def deflated(data: bytes) -> bytes:
    """Without zlib's wrapping, as some servers understand "deflate"."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def brotli(data: bytes) -> bytes:
    module = pytest.importorskip("brotli", reason="pip install brotli")
    packed: bytes = module.compress(data, quality=5)
    return packed


def zstd(data: bytes) -> bytes:
    try:
        from compression import zstd as module
    except ImportError:
        module = pytest.importorskip("backports.zstd", reason="pip install backports.zstd")
    packed: bytes = module.compress(data)
    return packed


Pack = Callable[[bytes], bytes]
PACKS: dict[str, Pack] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": deflated,
    "br": brotli,
    "zstd": zstd,
    "gzip, deflate": lambda data: zlib.compress(gzip.compress(data)),
    "identity": bytes,
}


def encoded(encoding: str, body: bytes) -> bytes:
    return answer(200, [("Content-Encoding", encoding)], body)


@pytest.mark.parametrize(("encoding", "pack"), PACKS.items())
async def test_a_body_is_decoded(encoding: str, pack: Pack) -> None:
    data = bytes(range(256)) * 300
    said = encoded(encoding, pack(data))
    async with raw_server(said) as server, reaching(server) as outbound:
        response = await outbound.send(OutboundRequest("GET", server.url))
        assert (await outbound.send(OutboundRequest("GET", server.url))).body == data
    assert response.body == data


@pytest.mark.parametrize(("encoding", "pack"), PACKS.items())
async def test_a_bomb_is_cut_off(encoding: str, pack: Pack) -> None:
    said = encoded(encoding, pack(bytes(5_000_000)))
    async with raw_server(said) as server, reaching(server, max_bytes=MOST) as outbound:
        with pytest.raises(AnswerTooLargeError, match=f"larger than {MOST} bytes"):
            await outbound.send(OutboundRequest("GET", server.url))


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, deflate"])
def test_a_bomb_is_decoded_a_little_at_a_time(encoding: str) -> None:
    bomb = PACKS[encoding](bytes(5_000_000))
    body = Encodings().decoder(encoding)
    tracemalloc.start()
    try:
        pieces = body.feed(bomb)
        # brotli takes the bound for a wish, and stops a little later.
        assert [len(next(pieces)) <= 2 * PIECE for _ in range(5)] == [True] * 5
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        pieces.close()
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "Deflate", "br", "zstd"])
@given(data=st.binary(max_size=2000), sizes=st.lists(st.integers(1, 500), max_size=5))
def test_however_it_comes_it_is_the_same(encoding: str, data: bytes, sizes: list[int]) -> None:
    packed = PACKS[encoding](data * 50)
    body = Encodings().decoder(encoding)
    found = b""
    for size in [*sizes, len(packed)]:
        found += b"".join(body.feed(packed[:size]))
        packed = packed[size:]
    body.end()
    assert found == data * 50


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_an_encoded_body_that_breaks_off_is_no_answer(encoding: str) -> None:
    packed = PACKS[encoding](bytes(range(256)) * 20)
    for part in (packed[:-1], packed[: len(packed) // 2]):
        said = encoded(encoding, part)
        async with raw_server(said) as server, reaching(server) as outbound:
            with pytest.raises(BrokenAnswerError, match="breaks off") as caught:
                await outbound.send(OutboundRequest("GET", server.url))
        assert caught.value.host == "127.0.0.1"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_body_that_is_not_in_its_encoding_is_no_answer(encoding: str) -> None:
    said = encoded(encoding, b"\x07 this is no such thing at all")
    async with raw_server(said) as server, reaching(server) as outbound:
        with pytest.raises(BrokenAnswerError):
            await outbound.send(OutboundRequest("GET", server.url))


@pytest.mark.parametrize("encoding", ["compress", "aes128gcm", "gzip, gzip, gzip", "x" * 50])
async def test_an_encoding_that_is_not_known_is_no_answer(encoding: str) -> None:
    async with raw_server(encoded(encoding, b"x")) as server, reaching(server) as outbound:
        with pytest.raises(BrokenAnswerError, match="encod"):
            await outbound.send(OutboundRequest("GET", server.url))


@pytest.mark.parametrize("encoding", ["gzip", "br"])
@pytest.mark.parametrize("status", [200, 204, 304])
async def test_what_has_no_body_needs_no_decoding(encoding: str, status: int) -> None:
    said = answer(status, [("Content-Encoding", encoding)])
    async with raw_server(said) as server, reaching(server) as outbound:
        assert (await outbound.send(OutboundRequest("GET", server.url))).body == b""


@pytest.mark.parametrize("size", [0, 1, MOST - 1, MOST])
async def test_what_is_no_larger_than_it_may_be_is_taken(size: int) -> None:
    async with (
        raw_server(answer(body=b"x" * size)) as server,
        reaching(server, max_bytes=MOST) as outbound,
    ):
        response = await outbound.send(OutboundRequest("GET", server.url))
    assert len(response.body) == size


async def test_a_length_that_is_too_large_is_believed() -> None:
    async def handle(received: Received, stream: ByteStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n")
        await stream.receive()  # nothing of it has to come

    async with raw_server(handle) as server, reaching(server, max_bytes=MOST) as outbound:
        with pytest.raises(AnswerTooLargeError):
            await outbound.send(OutboundRequest("GET", server.url))


@pytest.mark.parametrize("framing", [b"", b"Transfer-Encoding: chunked\r\n"])
async def test_an_endless_body_is_cut_off(framing: bytes) -> None:
    piece = b"1000\r\n" + bytes(0x1000) + b"\r\n" if framing else bytes(0x1000)

    async def handle(received: Received, stream: ByteStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n")
        while True:
            await stream.send(piece)

    async with raw_server(handle) as server, reaching(server, max_bytes=MOST) as outbound:
        for _ in range(2):
            with pytest.raises(AnswerTooLargeError):
                await outbound.send(OutboundRequest("GET", server.url))


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstd)])
async def test_a_body_that_decodes_to_nothing_has_an_end_too(encoding: str, pack: Pack) -> None:
    empty = pack(b"") * 1000

    async def handle(received: Received, stream: ByteStream) -> None:
        await stream.send(f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n".encode())
        while True:
            await stream.send(empty)

    async with raw_server(handle) as server, reaching(server, max_bytes=MOST) as outbound:
        with pytest.raises(AnswerTooLargeError), anyio.fail_after(20):
            await outbound.send(OutboundRequest("GET", server.url))


async def test_the_head_of_an_answer_to_head_may_say_any_length() -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\nContent-Encoding: gzip\r\n\r\n"
    async with raw_server(said) as server, reaching(server, max_bytes=MOST) as outbound:
        response = await outbound.send(OutboundRequest("HEAD", server.url))
    assert (response.header("content-length"), response.body) == ("999999999", b"")


@pytest.mark.parametrize(
    "headers",
    [
        [("X-A", "x" * 70_000)],
        [("X-A", "x" * 200_000)],
        [("X-A", "1")] * 300,
    ],
)
async def test_headers_are_bounded(headers: list[tuple[str, str]]) -> None:
    async with raw_server(answer(200, headers)) as server, reaching(server) as outbound:
        with pytest.raises(BrokenAnswerError):
            await outbound.send(OutboundRequest("GET", server.url))


@pytest.mark.parametrize(
    "said",
    [
        b"\0\1\2\3\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_what_http_does_not_allow_is_no_answer(said: bytes) -> None:
    async with raw_server(said) as server, reaching(server) as outbound:
        with pytest.raises(BrokenAnswerError):
            await outbound.send(OutboundRequest("GET", server.url))


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", b"\xc3\xa4", "ä"),
        ("text/plain; charset=latin-1", b"\xe4", "ä"),
        ('text/plain; charset="utf-16le"', b"\xe4\0", "ä"),
        ("text/plain; charset=no-such", b"\xc3\xa4", "ä"),
        ("text/plain; charset=base64", b"YQ==", "YQ=="),
        ("text/plain", b"\xff", "\ufffd"),
        ("", b"x", "x"),
    ],
)
async def test_a_text_is_read_by_its_charset(content_type: str, body: bytes, text: str) -> None:
    said = answer(200, [("Content-Type", content_type)], body)
    async with raw_server(said) as server, reaching(server) as outbound:
        assert (await outbound.send(OutboundRequest("GET", server.url))).text() == text
