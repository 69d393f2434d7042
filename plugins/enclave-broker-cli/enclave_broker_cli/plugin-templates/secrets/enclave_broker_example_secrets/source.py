"""Secrets in a file with lines ``NAME=value``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from enclave_broker_core.contracts import OpenContext, SecretSource
from enclave_broker_core.errors import SecretError

from .config import EnvFileConfig


class EnvFile:
    """A SecretSource that reads its file anew each time, so that secrets can be rotated.

    It keeps no value: none can get into a repr, an error or a log.
    """

    def __init__(self, config: EnvFileConfig, path: anyio.Path) -> None:
        self._path = path
        self._max_bytes = config.max_bytes

    async def get(self, name: str) -> str | None:
        try:
            async with await anyio.open_file(self._path, "rb") as file:
                # One byte more than it may have, and no more of it.
                text = await file.read(self._max_bytes + 1)
        except OSError as problem:
            raise SecretError(f"{self._path} can't be read: {problem.strerror}") from None
        if len(text) > self._max_bytes:
            raise SecretError(f"{self._path} is larger than {self._max_bytes} bytes")
        try:
            return values_of(text.decode()).get(name)
        except UnicodeDecodeError:
            # The error itself has a part of the file in it.
            raise SecretError(f"{self._path} is not UTF-8") from None


def values_of(text: str) -> dict[str, str]:
    """The values of all lines; comments, and what has no name or no value, are left out."""
    values = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if not name.startswith("#") and name.strip() and value.strip():
            values[name.strip()] = value.strip()
    return values


@asynccontextmanager
async def open_source(config: EnvFileConfig, context: OpenContext) -> AsyncIterator[SecretSource]:
    yield EnvFile(config, anyio.Path(context.base_dir) / config.path)
