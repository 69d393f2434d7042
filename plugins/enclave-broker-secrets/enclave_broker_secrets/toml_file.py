"""The secret source "toml": a TOML file that nobody else can read."""

from __future__ import annotations

import os
import re
import stat
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread

from enclave_broker_core.contracts import OpenContext, SecretSource
from enclave_broker_core.errors import ConfigError, SecretError

from .config import KIB, TomlConfig
from .small_files import Kept, ReplacedError, persistently, read, text_of

_PLACE = re.compile(r"\(at (line \d+, column \d+|end of document)\)")

# By their names; None is a value that is no text.
Values = Mapping[str, str | None]


class TomlFile:
    """The texts of one TOML file; those in its tables by dotted names.

    The file must belong to this user or to root and be readable by nobody else; so must the
    folder, which no others may write to. A file that was replaced or written to is read, and
    judged, anew. ``clock`` is in seconds since the epoch, as the dates of files.
    """

    def __init__(
        self,
        path: str,
        max_bytes: int = 1024 * KIB,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: Kept[Values] | None = None

    async def get(self, name: str) -> str | None:
        """SecretError when the file can't be read or is not fit, or the value is no text."""
        values = await self.values()
        value = values.get(name)
        if value is None and name in values:
            raise SecretError(f"{self._path}: {name!r} is no text; texts stand in quotes")
        return value

    async def values(self) -> Values:
        """All that the file holds now."""
        found, kept = None, self._kept
        with suppress(OSError):  # the thread will say what it is
            # A look costs a microsecond or two: a hundredth of a worker thread.
            found = os.stat(self._path)
        if found is None or kept is None or not kept.is_of(found):
            kept = await anyio.to_thread.run_sync(
                partial(persistently, self._path, self._load), abandon_on_cancel=True
            )
            if kept is None:
                raise SecretError(f"{self._path} can't be read: there is no such file")
            self._kept = kept
        return kept.value

    def _load(self) -> Kept[Values]:
        now = self._clock()
        try:
            real = os.path.realpath(self._path, strict=True)
            # Who may replace the link decides as well as who may replace the file.
            for folder in {os.path.dirname(self._path) or ".", os.path.dirname(real)}:
                _judge(folder, os.stat(folder), stat.S_IWGRP | stat.S_IWOTH, "written to")
        except FileNotFoundError:
            raise ReplacedError from None
        except OSError as problem:
            raise SecretError(f"{self._path} can't be read: {problem.strerror}") from None
        content, found = read(real, self._max_bytes)
        _judge(real, found, stat.S_IRWXG | stat.S_IRWXO, "used")
        return Kept(self._parse(content), found, now)

    def _parse(self, content: bytes) -> Values:
        text = text_of(content)
        if text is None:
            raise SecretError(f"{self._path} is no text in UTF-8")
        document, place = _document(text)
        if document is None:
            raise SecretError(f"{self._path} is no TOML: {place}")
        values: dict[str, str | None] = {}
        for name, value in _leaves(document):
            if name in values:
                raise SecretError(f"{self._path} has {name!r} twice: in quotes and in a table")
            values[name] = value
        return values


def _judge(path: str, found: os.stat_result, forbidden: int, done: str) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise SecretError(f"{path} belongs to another user")
    if found.st_mode & forbidden:
        mode = stat.S_IMODE(found.st_mode)
        raise SecretError(
            f"{path} may be {done} by others: its mode is {mode:04o}, and"
            f" {mode & ~forbidden:04o} would do"
        )


def _document(text: str) -> tuple[dict[str, Any] | None, str]:
    """The document, or where it is wrong. The error of Python holds the text."""
    try:
        return tomllib.loads(text), ""
    except RecursionError:
        return None, "it is too deep"
    except ValueError as problem:
        place = _PLACE.search(str(problem))
        return None, place[1] if place else "a number is too long"


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value if isinstance(value, str) else None


@asynccontextmanager
async def open_toml(config: TomlConfig, context: OpenContext) -> AsyncIterator[SecretSource]:
    """ConfigError when the file can't be read, or others can."""
    source = TomlFile(str(Path(context.base_dir) / config.path), config.max_bytes)
    try:
        await source.values()
    except SecretError as problem:
        raise ConfigError(problem.message) from None
    yield source
