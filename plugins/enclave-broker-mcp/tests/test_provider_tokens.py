"""Servers that want a token, and those who give out tokens."""

from __future__ import annotations

import json

import pytest
from enclave_broker_mcp.provider.config import McpConfig
from provider_fixtures import invoke, opened
from provider_service import JSON, Service, config
from raw_http import RawServer, Received, answer, raw_server

from enclave_broker_core.errors import PluginError

pytestmark = pytest.mark.anyio


class Guarded(Service):
    """Wants a token, and says where there are some: at its own origin, as small ones do."""

    def __init__(self) -> None:
        super().__init__()
        self.issued = 0
        self.valid: set[str] = set()
        self.url = ""
        self.refuses = False

    def __call__(self, received: Received) -> bytes:
        if received.target == "/.well-known/oauth-protected-resource/mcp":
            about = {"resource": f"{self.url}/mcp", "authorization_servers": [self.url]}
            return answer(200, [JSON], json.dumps(about).encode())
        if received.target == "/.well-known/oauth-authorization-server":
            about = {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "grant_types_supported": ["client_credentials"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            }
            return answer(200, [JSON], json.dumps(about).encode())
        if received.target == "/token":
            if self.refuses:
                said_no = b'{"error": "invalid_client", "error_description": "No: open-sesame-1"}'
                return answer(400, [JSON], said_no)
            self.issued += 1
            self.valid = {f"token-number-{self.issued}"}
            token = {"access_token": f"token-number-{self.issued}", "token_type": "Bearer"}
            return answer(200, [JSON], json.dumps(token).encode())
        if received.header("authorization") not in {f"Bearer {token}" for token in self.valid}:
            where = (
                f'Bearer resource_metadata="{self.url}/.well-known/oauth-protected-resource/mcp"'
            )
            return answer(401, [("WWW-Authenticate", where)])
        return super().__call__(received)


def authorised(server: RawServer) -> McpConfig:
    auth = {
        "type": "client_credentials",
        "issuer": server.url,
        "client_id": "me",
        "client_secret": "open-sesame-1",
    }
    return config(server, auth=auth)


async def test_a_token_is_fetched_and_fetched_again() -> None:
    service = Guarded()
    async with raw_server(service) as server:
        service.url = server.url
        async with opened(authorised(server)) as provider:
            assert await invoke(provider, "web:do") is None
            assert service.issued == 1
            service.valid.clear()
            assert await invoke(provider, "web:do") is None
            assert service.issued == 2


async def test_no_token_is_an_error_without_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    service = Guarded()
    service.refuses = True
    async with raw_server(service) as server:
        service.url = server.url
        with pytest.raises(PluginError) as caught:
            async with opened(authorised(server)):
                pass
    assert "sesame" not in caught.value.message
    assert "there is no token for it: Token exchange failed (400)" in caught.value.message
    assert "sesame" not in caplog.text
