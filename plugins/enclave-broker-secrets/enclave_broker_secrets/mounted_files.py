"""The secret source "files": a folder with one file for each secret, as containers get it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio.to_thread

from enclave_broker_core.contracts import OpenContext, SecretSource
from enclave_broker_core.errors import ConfigError, SecretError

from .config import KIB, FilesConfig
from .small_files import Kept, ReplacedError, persistently, read, text_of

# What Docker and Kubernetes allow. Names that begin with two dots are Kubernetes' own.
NAME = re.compile(r"(?!\.\.|\.\Z)[A-Za-z0-9._-]{1,253}")


class MountedFiles:
    """Secrets of Docker and Kubernetes: each file is one, without the line feed at its end.

    A file that was replaced, or whose folder was, is read anew. Links are followed as far as
    they stay in the folder. ``clock`` is in seconds since the epoch, as the dates of files.
    """

    def __init__(
        self,
        folder: str,
        max_bytes: int = 64 * KIB,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: dict[str, Kept[str]] = {}

    async def get(self, name: str) -> str | None:
        """SecretError when the file, or the folder, can't be read or is not fit."""
        if NAME.fullmatch(name) is None:
            return None
        # A look costs a microsecond or two: a hundredth of a worker thread.
        found, kept = self._look(name), self._kept.get(name)
        if found is None and kept is None and not self._is_linked(name):
            return None
        if found is None or kept is None or not kept.is_of(found):
            kept = await anyio.to_thread.run_sync(
                partial(persistently, self._path(name), partial(self._load, name)),
                abandon_on_cancel=True,
            )
        if kept is None:
            self._kept.pop(name, None)
            return None
        self._kept[name] = kept
        return kept.value

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _look(self, name: str) -> os.stat_result | None:
        """None when there is no such file, or not while its folder is being exchanged."""
        path = self._path(name)
        try:
            return os.stat(path)
        except FileNotFoundError:
            if os.path.isdir(self._folder):
                return None
            raise SecretError(f"{self._folder} is no folder") from None
        except OSError as problem:
            raise SecretError(f"{path} can't be read: {problem.strerror}") from None

    def _is_linked(self, name: str) -> bool:
        return os.path.lexists(self._path(name))

    def _load(self, name: str) -> Kept[str]:
        now = self._clock()
        content, found = read(self._real(name), self._max_bytes)
        text = text_of(content)
        if text is None:
            raise SecretError(f"{self._path(name)} is no text in UTF-8")
        value = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
        if not value:
            raise SecretError(f"{self._path(name)} is empty")
        return Kept(value, found, now)

    def _real(self, name: str) -> str:
        """Where the file is when all links are followed, as Kubernetes makes them."""
        folder = os.path.realpath(self._folder)
        try:
            real = os.path.realpath(self._path(name), strict=True)
        except FileNotFoundError:
            raise ReplacedError from None
        except OSError as problem:
            raise SecretError(f"{self._path(name)} can't be read: {problem.strerror}") from None
        if os.path.commonpath([folder, real]) == folder:
            return real
        if os.path.realpath(self._folder) != folder:
            raise ReplacedError
        raise SecretError(f"{self._path(name)} leads out of its folder")


@asynccontextmanager
async def open_files(config: FilesConfig, context: OpenContext) -> AsyncIterator[SecretSource]:
    """ConfigError when there is no such folder."""
    folder = Path(context.base_dir) / config.path
    if not await anyio.Path(folder).is_dir():
        raise ConfigError(f"{folder} is no folder")
    yield MountedFiles(str(folder), config.max_bytes)
