"""The broker on a network: HTTP, NDJSON, server-sent events and WebSocket."""

from collections.abc import Iterable

from enclave_broker_core.commands import Command
from enclave_broker_core.contracts import Component
from enclave_broker_core.hookspecs import hookimpl

from .api_keys import ApiKeysConfig, open_api_keys
from .jwt_config import JwtConfig
from .jwt_opening import open_jwt
from .keys_command import key_command
from .serve import serve_command


@hookimpl
def enclave_authenticators() -> Iterable[Component]:
    return [
        Component("api_keys", open_api_keys, ApiKeysConfig),
        Component("jwt", open_jwt, JwtConfig),
    ]


@hookimpl
def enclave_commands() -> Iterable[Command]:
    return [key_command(), serve_command()]
