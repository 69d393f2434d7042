"""Finds secrets by name in the configured sources, and has their values blotted out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from .contracts import Component, NoConfig, OpenContext, SecretSource
from .errors import BrokerError, SecretError
from .redaction import Redactor


class EnvironmentSecrets:
    """The secret source "env": environment variables of this process."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    async def get(self, name: str) -> str | None:
        return self._environment.get(name)


@asynccontextmanager
async def open_environment(config: NoConfig, context: OpenContext) -> AsyncIterator[SecretSource]:
    yield EnvironmentSecrets()


ENVIRONMENT = Component("env", open_environment)


# What a tool names for a header of the caller's own request, behind it the header's name.
CALLER = "caller:"


class Secrets:
    """Asks the sources in their order. Each value that is handed out is blotted out after."""

    def __init__(self, sources: Sequence[SecretSource], redactor: Redactor) -> None:
        self._sources = tuple(sources)
        self._redactor = redactor

    async def get(self, name: str) -> str:
        """The value; SecretError when no source knows the name or one fails."""
        for source in self._sources:
            try:
                value = await source.get(name)
            except BrokerError:
                raise
            except Exception as problem:
                raise SecretError(f"the secret {name!r} can't be read: {problem}") from problem
            if value is not None:
                self._redactor.add(value, name)
                return value
        raise SecretError(f"no secret source knows {name!r}")

    async def knows(self, name: str) -> bool:
        """Whether a source has a value for the name now; what callers bring may be there."""
        if name.startswith(CALLER):
            return True
        try:
            await self.get(name)
        except BrokerError:
            return False
        return True

    async def all(self, names: Iterable[str], caller: Mapping[str, str]) -> dict[str, str]:
        """The values of all names; ``caller:<header>`` is one of the headers in ``caller``."""
        return {
            name: _brought(name, caller) if name.startswith(CALLER) else await self.get(name)
            for name in names
        }


def _brought(name: str, caller: Mapping[str, str]) -> str:
    header = name.removeprefix(CALLER).lower()
    if header not in caller:
        raise SecretError(
            f"the tool passes the caller's {header} on, and the caller's request had none that"
            " is passed on here"
        )
    return caller[header]
