"""The broker on a network: HTTP, NDJSON, server-sent events and WebSocket."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

from enclave_broker_core.commands import Command
from enclave_broker_core.contracts import Authenticator, Component, OpenContext
from enclave_broker_core.hookspecs import hookimpl

from .api_keys import ApiKeysConfig, open_api_keys
from .jwt_config import JwtConfig
from .keys_command import key_command
from .serve import serve_command


def _open_jwt(
    config: JwtConfig, context: OpenContext
) -> AbstractAsyncContextManager[Authenticator]:
    # Every command loads this package: only who takes tokens waits for what reads them.
    from .jwt_tokens import open_jwt

    return open_jwt(config, context)


@hookimpl
def enclave_authenticators() -> Iterable[Component]:
    return [
        Component("api_keys", open_api_keys, ApiKeysConfig),
        Component("jwt", _open_jwt, JwtConfig),
    ]


@hookimpl
def enclave_commands() -> Iterable[Command]:
    return [key_command(), serve_command()]
