"""The secret source "keyring": the keyring of the user's desktop or of the system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import anyio
import anyio.to_thread

from enclave_broker_core.contracts import OpenContext, SecretSource
from enclave_broker_core.errors import ConfigError, SecretError, ToolError
from enclave_broker_core.threads import Threads

from .config import KeyringConfig

LONGEST_NAME = 256
# How many look-ups may hang, for example while a prompt waits for its user.
MOST_HANGING = 4


class Backend(Protocol):
    """What is used of ``keyring.backend.KeyringBackend``."""

    def get_password(self, service: str, username: str) -> str | None: ...


class SystemKeyring:
    """The passwords of one service; the name of a secret is its user name.

    The keyring is asked each time, in a worker thread, for at most ``timeout`` seconds.
    """

    def __init__(self, backend: Backend, service: str, timeout: float = 10.0) -> None:
        self._backend = backend
        self._service = service
        self._timeout = timeout
        self._threads = Threads(max_threads=MOST_HANGING, max_abandoned=MOST_HANGING)

    async def get(self, name: str) -> str | None:
        """SecretError when the keyring is locked, fails, or does not answer in time."""
        if not name.isprintable() or not name.strip() or len(name) > LONGEST_NAME:
            return None
        try:
            with anyio.fail_after(self._timeout):
                value, failure = await self._threads.run(self._ask, {"name": name})
        except (TimeoutError, ToolError):
            value, failure = None, f"it does not answer within {self._timeout:g} s"
        if failure is not None:
            raise SecretError(f"the keyring can't be asked for {name!r}: {failure}")
        found: str | None = value
        return found

    def _ask(self, name: str) -> tuple[str | None, str | None]:
        """The value, or what failed. Backends say all kinds of things: their words stay here."""
        try:
            return self._backend.get_password(self._service, name), None
        except Exception as problem:
            return None, type(problem).__name__


@asynccontextmanager
async def open_keyring(config: KeyringConfig, context: OpenContext) -> AsyncIterator[SecretSource]:
    """ConfigError when the library is not installed, or finds no keyring."""
    yield SystemKeyring(await anyio.to_thread.run_sync(_backend), config.service, config.timeout)


def _backend() -> Backend:
    try:
        import keyring
        from keyring.backends import fail
    except ImportError:
        raise ConfigError(
            "the secret source 'keyring' needs the library keyring: pip install keyring"
        ) from None
    try:
        backend = keyring.get_keyring()
    except Exception as problem:
        raise ConfigError(
            f"there is no keyring that can be opened: {type(problem).__name__}: {problem}"
        ) from None
    if isinstance(backend, fail.Keyring):
        raise ConfigError("there is no keyring on this system that the library keyring can use")
    return backend
