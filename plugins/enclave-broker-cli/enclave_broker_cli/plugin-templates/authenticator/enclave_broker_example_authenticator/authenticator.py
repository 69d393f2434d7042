"""Bearer tokens, of which only the digests are known."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from enclave_broker_core.contracts import Authenticator, Credentials, OpenContext
from enclave_broker_core.errors import AccessDeniedError
from enclave_broker_core.models import Principal

from .config import TokensConfig


class Tokens:
    """An Authenticator of ``Authorization: Bearer TOKEN``."""

    def __init__(self, config: TokensConfig) -> None:
        self._principals = {
            token.sha256: Principal(id=token.id, tenant=token.tenant, roles=token.roles)
            for token in config.tokens
        }

    async def authenticate(self, credentials: Credentials) -> Principal | None:
        scheme, _, token = credentials.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            # Another authenticator may know this kind.
            return None
        # A digest says nothing of how near a wrong token is, so it may be looked up as it is.
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        principal = self._principals.get(digest)
        if principal is None:
            raise AccessDeniedError("this token is not known")
        return principal


@asynccontextmanager
async def open_authenticator(
    config: TokensConfig, context: OpenContext
) -> AsyncIterator[Authenticator]:
    yield Tokens(config)
