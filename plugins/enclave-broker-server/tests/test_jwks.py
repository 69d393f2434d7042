"""Keys from an issuer's URL: fetched from a real server, kept and shared."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from enclave_broker_server.jwt_config import JwtConfig
from enclave_broker_server.jwt_tokens import open_jwt
from issuers import AUDIENCE, EC, ISSUER, RSA, STRANGER, jwks, token
from publishing import Publisher, asked, kids, opened, publisher

from enclave_broker_core.contracts import Authenticator, Credentials, OpenContext
from enclave_broker_core.errors import AccessDeniedError, BrokerError
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.authenticators import AuthenticatorSuite
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


# Cached, and fetched anew


async def test_keys_are_fetched_once(server: Publisher, clock: Clock) -> None:
    async with opened(server, clock) as keys:
        assert len(server.asked) == 1
        clock.now += 599
        for _ in range(10):
            assert await kids(keys) == ["rsa"]
    [headers] = server.asked
    assert headers["accept-encoding"] == "identity"
    assert "authorization" not in headers


async def test_keys_are_fetched_again_when_they_are_old(server: Publisher, clock: Clock) -> None:
    async with opened(server, clock) as keys:
        server.publish(EC)
        clock.now += 600
        assert await kids(keys, "rsa") == []
        assert await kids(keys, "ec", "ES256") == ["ec"]
    assert len(server.asked) == 2


async def test_a_new_kid_brings_the_new_keys(server: Publisher, clock: Clock) -> None:
    async with opened(server, clock) as keys:
        server.publish(RSA, EC)
        clock.now += 30
        assert await kids(keys, "ec", "ES256") == ["ec"]
        assert await kids(keys, "rsa") == ["rsa"]
    assert len(server.asked) == 2


async def test_unknown_kids_are_no_flood(server: Publisher, clock: Clock) -> None:
    async with opened(server, clock) as keys:
        for n in range(50):
            assert await kids(keys, f"nobody-{n}") == []
        assert len(server.asked) == 1
        clock.now += 30
        async with anyio.create_task_group() as tasks:
            for n in range(50):
                tasks.start_soon(kids, keys, f"nobody-{n}")
        for n in range(50):
            assert await kids(keys, f"nobody-{n}") == []
        assert len(server.asked) == 2


async def test_a_key_without_an_id_is_meant_when_no_other_is(
    server: Publisher, clock: Clock
) -> None:
    nameless = {name: value for name, value in RSA.as_dict(private=False).items() if name != "kid"}
    server.body = json.dumps({"keys": [nameless, *jwks(EC)["keys"]]}).encode()
    async with opened(server, clock) as keys:
        assert await kids(keys, "any") == [None]
        assert await kids(keys, None) == [None]
        assert await kids(keys, "any", "ES256") == []
        # A key of the very id goes before it, once it is there.
        server.body = json.dumps({"keys": [nameless, *jwks(RSA)["keys"]]}).encode()
        clock.now += 30
        assert await kids(keys) == ["rsa"]


# Several who wait for one fetch


async def test_those_who_wait_share_one_fetch(server: Publisher, clock: Clock) -> None:
    answers: list[list[Any]] = []

    async def find() -> None:
        answers.append(await kids(keys, "ec", "ES256"))

    async with opened(server, clock) as keys:
        await asked(server)
        server.publish(EC)
        server.gate.clear()
        clock.now += 30
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(find)
            await asked(server)
            server.gate.set()
    assert answers == [["ec"]] * 20
    assert len(server.asked) == 2


async def test_who_is_cancelled_takes_the_fetch_from_nobody(
    server: Publisher, clock: Clock
) -> None:
    answers: list[list[Any]] = []
    first = anyio.CancelScope()

    async def give_up() -> None:
        with first:
            await kids(keys, "ec", "ES256")
            answers.append(["was not cancelled"])

    async def wait() -> None:
        answers.append(await kids(keys, "ec", "ES256"))

    async with opened(server, clock) as keys:
        await asked(server)
        server.publish(EC)
        server.gate.clear()
        clock.now += 30
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(give_up)
            await asked(server)  # it was the first's fetch
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            first.cancel()
            await anyio.wait_all_tasks_blocked()
            server.gate.set()
    assert first.cancelled_caught
    assert answers == [["ec"]]
    assert len(server.asked) == 2


async def test_a_fetch_ends_for_the_next_when_all_have_given_up(
    server: Publisher, clock: Clock
) -> None:
    async with opened(server, clock) as keys:
        await asked(server)
        server.publish(EC)
        server.gate.clear()
        clock.now += 30
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kids, keys, "ec", "ES256")
            await asked(server)
            tasks.cancel_scope.cancel()
        server.gate.set()
        assert await kids(keys, "ec", "ES256") == ["ec"]
    assert len(server.asked) == 2


async def test_closing_ends_a_fetch(server: Publisher, clock: Clock) -> None:
    answers: list[list[Any]] = []

    async def find() -> None:
        answers.append(await kids(keys, "ec", "ES256"))

    with anyio.fail_after(30):
        async with (
            anyio.create_task_group() as tasks,
            opened(server, clock, fetch_timeout=1e6) as keys,
        ):
            await asked(server)
            server.gate.clear()
            clock.now += 30
            tasks.start_soon(find)
            await asked(server)
    assert answers == [[]]


# The whole authenticator


def shown(text: str) -> Credentials:
    return Credentials({"authorization": f"Bearer {text}"})


class TestByUrl(AuthenticatorSuite):
    good = shown(token())
    principal = Principal(id="ada")
    wrong = shown(token(STRANGER))
    foreign = (Credentials({}), shown(token(iss="https://other.example")))

    @asynccontextmanager
    async def open_authenticator(self) -> AsyncIterator[Authenticator]:
        with publisher() as server:
            server.publish(RSA)
            config = JwtConfig(issuer=ISSUER, audience=AUDIENCE, jwks_url=server.url)
            async with open_jwt(config, OpenContext("jwt")) as tokens:
                yield tokens


async def test_tokens_by_a_new_key_are_taken(server: Publisher) -> None:
    config = JwtConfig(issuer=ISSUER, audience=AUDIENCE, jwks_url=server.url, refetch_interval=1e-9)
    async with open_jwt(config, OpenContext("jwt")) as tokens:
        assert await tokens.authenticate(shown(token())) == Principal(id="ada")
        server.publish(EC)
        assert await tokens.authenticate(shown(token(EC, "ES256"))) == Principal(id="ada")
        with pytest.raises(AccessDeniedError):
            await tokens.authenticate(shown(token()))


async def test_without_keys_nobody_is_told_that_they_are_wrong(server: Publisher) -> None:
    server.status = 500
    config = JwtConfig(issuer=ISSUER, audience=AUDIENCE, jwks_url=server.url)
    async with open_jwt(config, OpenContext("jwt")) as tokens:
        for text in (token(), token(STRANGER)):
            with pytest.raises(BrokerError) as caught:
                await tokens.authenticate(shown(text))
            assert not isinstance(caught.value, AccessDeniedError)
            assert caught.value.code == "SERVICE_UNAVAILABLE"
        # What needs no key to be told is told.
        assert await tokens.authenticate(shown(token(iss="https://other.example"))) is None
        with pytest.raises(AccessDeniedError):
            await tokens.authenticate(shown(token(header={"alg": "none"})))
