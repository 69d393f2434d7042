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
        """Whether a source has a value for the name now."""
        try:
            await self.get(name)
        except BrokerError:
            return False
        return True

    async def all(self, names: Iterable[str]) -> dict[str, str]:
        return {name: await self.get(name) for name in names}
