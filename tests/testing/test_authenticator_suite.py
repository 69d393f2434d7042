"""The authenticator suite finds what is wrong with one, in the test for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from bad_authenticators import KNOWN_BAD, ApiKeys

from enclave_broker_core.contracts import Authenticator, Credentials
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.authenticators import AuthenticatorSuite

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:coroutine")]


class Suite(AuthenticatorSuite):
    good = Credentials({"authorization": "Bearer ada-5b77c0d8e1"})
    principal = Principal(id="ada", tenant="north", roles=frozenset({"admin"}))
    wrong = Credentials({"authorization": "Bearer eve-93f1a2b4c5"})
    foreign = (
        Credentials({}),
        Credentials({"authorization": "Basic YWRhOnNlc2FtZQ=="}),
        Credentials({"x-api-key": "ada-5b77c0d8e1"}, "127.0.0.1"),
    )

    def __init__(self, authenticator: type[ApiKeys] = ApiKeys) -> None:
        self._authenticator = authenticator

    @asynccontextmanager
    async def open_authenticator(self) -> AsyncIterator[Authenticator]:
        yield self._authenticator({"ada-5b77c0d8e1": self.principal})


@pytest.mark.parametrize(("authenticator", "found_by"), KNOWN_BAD[AuthenticatorSuite].items())
async def test_the_suite_finds(
    authenticator: type[ApiKeys],
    found_by: set[str],
    failures: Callable[[object], Awaitable[set[str]]],
) -> None:
    assert found_by <= await failures(Suite(authenticator))


async def test_the_suite_finds_nothing_else(
    failures: Callable[[object], Awaitable[set[str]]],
) -> None:
    assert await failures(Suite()) == set()
