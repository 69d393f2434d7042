"""Tokens for a server, by the SDK's client credentials."""

from __future__ import annotations

from typing import Any

import httpx2
from mcp.client.auth import OAuthFlowError
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from enclave_broker_core.redaction import Redactor

from .codes import FAILED
from .config import ClientCredentials
from .refusals import failure
from .texts import line
from .values import AskSecret, revealed

LONGEST_REASON = 300


class TokenClient(httpx2.AsyncClient):
    """A client for which no token is the error of the request that wanted one."""

    def __init__(self, redactor: Redactor, **options: Any) -> None:
        super().__init__(**options)
        self._redactor = redactor

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            return await super().send(request, **options)
        except OAuthFlowError as problem:
            said = line(self._redactor.text(str(problem)), LONGEST_REASON)
            response = failure(401, FAILED, f"there is no token for it: {said}")
            response.request = request
            return response


class Tokens:
    """Holds a connection's token, and has it blotted out of what is said."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._token: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self._token

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._token = tokens
        self._redactor.add(tokens.access_token)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        return


async def authorising(
    auth: ClientCredentials, url: str, ask: AskSecret, redactor: Redactor
) -> ClientCredentialsOAuthProvider:
    """What asks for a token when the server wants one, and for another when that is old."""
    return ClientCredentialsOAuthProvider(
        server_url=url,
        storage=Tokens(redactor),
        client_id=auth.client_id,
        client_secret=await revealed(auth.client_secret, ask, redactor),
        scope=" ".join(auth.scopes) or None,
        issuer=auth.issuer,
    )
