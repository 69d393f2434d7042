"""Opens the authenticator ``jwt``. Every command loads this module, and few take tokens."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from enclave_broker_core.contracts import Authenticator, OpenContext

from .jwt_config import JwtConfig


def open_jwt(config: JwtConfig, context: OpenContext) -> AbstractAsyncContextManager[Authenticator]:
    """The authenticator, with its keys. ConfigError when their file holds none."""
    # Only who takes tokens waits for what reads them.
    from . import jwt_tokens

    return jwt_tokens.open_jwt(config, context)
