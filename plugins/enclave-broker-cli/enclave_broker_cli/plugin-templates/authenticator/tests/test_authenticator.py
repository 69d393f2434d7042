"""The authenticator by itself: the suite of its contract, then what is its own."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from enclave_broker_core.contracts import Authenticator, Credentials, OpenContext
from enclave_broker_core.models import Principal
from enclave_broker_core.testing.authenticators import AuthenticatorSuite
from pydantic import ValidationError

from enclave_broker_example_authenticator.authenticator import open_authenticator
from enclave_broker_example_authenticator.config import Token, TokensConfig

DIGEST = hashlib.sha256(b"ada-5b77c0d8e1").hexdigest()
CONFIG = TokensConfig(tokens=(Token(sha256=DIGEST, id="ada", roles=frozenset({"admin"})),))


class TestTokens(AuthenticatorSuite):
    good = Credentials({"authorization": "Bearer ada-5b77c0d8e1"})
    principal = Principal(id="ada", roles=frozenset({"admin"}))
    wrong = Credentials({"authorization": "bearer eve-93f1a2b4c5"})
    foreign = (Credentials({}), Credentials({"authorization": "Basic YWRhOmFkYQ=="}))

    @asynccontextmanager
    async def open_authenticator(self) -> AsyncIterator[Authenticator]:
        async with open_authenticator(CONFIG, OpenContext("authenticators[0]")) as authenticator:
            yield authenticator


@pytest.mark.parametrize(
    "wrong",
    [
        {"sha256": "ada-5b77c0d8e1", "id": "ada"},
        {"sha256": DIGEST, "id": ""},
        {"sha256": DIGEST},
        {"token": "ada-5b77c0d8e1", "id": "ada"},
    ],
)
def test_a_wrong_configuration_is_refused_and_shows_no_token(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        TokensConfig.model_validate({"tokens": [wrong]})
    assert "5b77c0d8e1" not in str(refused.value)
