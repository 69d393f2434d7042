"""Keys from an issuer's URL that answers badly, or not at all."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterator

import anyio
import pytest
from enclave_broker_server.jwks import KeysUnavailableError
from issuers import ED, RSA, STRANGER, jwks
from publishing import Publisher, kids, opened, publisher

from enclave_broker_core.errors import AccessDeniedError
from enclave_broker_core.testing.fakes import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Identity does not need the server, which runs on asyncio only."""
    return str(request.param)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Iterator[Publisher]:
    with publisher() as running:
        running.publish(RSA)
        yield running


async def test_old_keys_go_on_for_a_while(
    server: Publisher, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(server, clock) as keys:
        server.status = 500
        clock.now += 600
        assert await kids(keys) == ["rsa"]
        clock.now += 3599
        assert await kids(keys) == ["rsa"]
        clock.now += 1
        with pytest.raises(KeysUnavailableError) as caught:
            await kids(keys)
        assert not isinstance(caught.value, AccessDeniedError)
        assert caught.value.retry_after == 29
        server.status = 200
        clock.now += 30
        assert await kids(keys) == ["rsa"]
    assert len(server.asked) == 4
    assert "status 500" in caplog.text


async def test_while_it_fails_an_unknown_key_may_be_a_new_one(
    server: Publisher, clock: Clock
) -> None:
    async with opened(server, clock) as keys:
        server.status = 503
        clock.now += 30
        for _ in range(3):
            with pytest.raises(KeysUnavailableError):
                await kids(keys, "new")
            assert await kids(keys) == ["rsa"]
        server.status = 200
        clock.now += 30
        assert await kids(keys, "new") == []
    assert len(server.asked) == 3


async def test_it_opens_before_the_issuer_is_there(
    server: Publisher, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    server.status = 404
    async with opened(server, clock) as keys:
        for _ in range(5):
            with pytest.raises(KeysUnavailableError):
                await kids(keys)
        server.status = 200
        clock.now += 30
        assert await kids(keys) == ["rsa"]
    assert len(server.asked) == 2
    assert [record.levelno for record in caplog.records if "can't be had" in record.message] == [
        logging.WARNING
    ]


async def test_nobody_listens(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with publisher() as gone:
        pass
    async with opened(gone, clock) as keys:
        with pytest.raises(KeysUnavailableError):
            await kids(keys)
    assert "ConnectError" in caplog.text


GOOD = json.dumps(jwks(RSA)).encode()
BAD_ANSWERS = {
    "an error": (500, {}, GOOD, "status 500"),
    "created": (201, {}, GOOD, "status 201"),
    "too large": (200, {}, b" " * 300_000 + GOOD, "more than 262144 bytes"),
    "no JSON": (200, {}, b"<html>", "not JSON"),
    "nothing": (200, {}, b"", "not JSON"),
    "nested deeply": (200, {}, b"[" * 200_000, "not JSON"),
    "compressed": (200, {"content-encoding": "gzip"}, gzip.compress(GOOD), "not JSON"),
    "a list": (200, {}, b"[]", "list of keys"),
    "no list of keys": (200, {}, b'{"keys": {}}', "list of keys"),
    "too many keys": (200, {}, b'{"keys": [' + b"{}," * 100 + b"{}]}", "more than 100 keys"),
}


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"), BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys()
)
async def test_bad_answers_are_no_keys(
    status: int,
    headers: dict[str, str],
    body: bytes,
    said: str,
    server: Publisher,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.status, server.headers, server.body = status, headers, body
    async with opened(server, clock) as keys:
        with pytest.raises(KeysUnavailableError):
            await kids(keys)
    assert said in caplog.text


async def test_a_redirect_is_not_followed(server: Publisher, clock: Clock) -> None:
    with publisher() as other:
        other.publish(RSA)
        server.status, server.headers = 302, {"location": other.url}
        async with opened(server, clock) as keys:
            with pytest.raises(KeysUnavailableError):
                await kids(keys)
        assert other.asked == []


async def test_a_slow_answer_is_given_up(
    server: Publisher, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    server.gate.clear()
    async with opened(server, clock, fetch_timeout=0.05) as keys:
        with pytest.raises(KeysUnavailableError):
            await kids(keys)
        server.gate.set()
    assert "0.05 s" in caplog.text or "Timeout" in caplog.text


async def test_an_endless_answer_is_not_read_to_its_end(
    server: Publisher, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    server.body, server.endless = b"", b" " * 10_000
    with anyio.fail_after(30):
        async with opened(server, clock, fetch_timeout=1e6) as keys:
            with pytest.raises(KeysUnavailableError):
                await kids(keys)
    assert "more than 262144 bytes" in caplog.text


async def test_an_answer_that_trickles_is_given_up(
    server: Publisher, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    server.body, server.endless, server.pause = b"", b" ", 0.01
    with anyio.fail_after(30):
        async with opened(server, clock, fetch_timeout=0.2) as keys:
            with pytest.raises(KeysUnavailableError):
                await kids(keys)
    assert "no whole answer in 0.2 s" in caplog.text


async def test_keys_that_can_t_be_used_are_left_out(server: Publisher, clock: Clock) -> None:
    odd = [
        "a text",
        None,
        {},
        {"kty": "AKP", "kid": "rsa", "alg": "ML-DSA-44", "pub": "AA"},
        {"kty": "oct", "kid": "rsa", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "rsa", "n": "", "e": ""},
        {"kty": "RSA", "kid": "rsa", "n": 5, "e": ["AQAB"]},
        {"kty": "EC", "kid": "ec", "crv": "P-999", "x": "AA", "y": "AA"},
        {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "OKP", "kid": "ed", "crv": "X25519", "x": "A" * 43},
        {"kty": ["RSA"], "kid": {}},
        STRANGER.as_dict(private=True),
        STRANGER.as_dict(private=False, use="enc"),
        STRANGER.as_dict(private=False, key_ops=["encrypt"]),
        STRANGER.as_dict(private=False, alg="RSA-OAEP"),
    ]
    server.body = json.dumps({"keys": [*odd, *jwks(RSA, ED)["keys"]]}).encode()
    async with opened(server, clock) as keys:
        [found] = await keys.find("rsa", "RS256")
        assert found == RSA or found.thumbprint() == RSA.thumbprint()
        assert await kids(keys, "ed", "EdDSA") == ["ed"]
        assert await kids(keys, "ec", "ES256") == []


async def test_a_set_without_keys_takes_all_of_them_back(server: Publisher, clock: Clock) -> None:
    async with opened(server, clock) as keys:
        server.publish()
        clock.now += 600
        assert await kids(keys) == []
