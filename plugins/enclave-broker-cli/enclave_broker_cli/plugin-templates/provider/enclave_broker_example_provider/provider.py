"""Tools that list and read the notes of a folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import anyio
from enclave_broker_core.contracts import OpenContext, Publish, Tool, ToolProvider
from enclave_broker_core.errors import ConfigError, ToolError
from enclave_broker_core.functions import FunctionTool
from enclave_broker_core.threads import Threads
from pydantic import Field

from .config import NotesConfig

# Neither a dot nor a slash: no name leads out of the folder.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Notes:
    """A ToolProvider whose tools are ``NAME:list`` and ``NAME:read``."""

    def __init__(self, config: NotesConfig, name: str, folder: anyio.Path) -> None:
        self._max_bytes = config.max_bytes
        self._folder = folder
        threads = Threads()
        self._tools = (
            FunctionTool(f"{name}:list", self._list, threads, read_only=True, source=name),
            FunctionTool(f"{name}:read", self._read, threads, read_only=True, source=name),
        )

    async def tools(self) -> Sequence[Tool]:
        return self._tools

    async def watch(self, publish: Publish) -> None:
        """The notes change, and the tools stay the same."""

    async def _list(self) -> list[str]:
        """The names of all notes."""
        return sorted([path.stem async for path in self._folder.glob("*.txt")])

    async def _read(self, name: Name) -> str:
        """The text of one note."""
        path = self._folder / f"{name}.txt"
        try:
            async with await anyio.open_file(path, "rb") as file:
                # One byte more than it may have, and no more of it.
                text = await file.read(self._max_bytes + 1)
            if len(text) > self._max_bytes:
                raise ToolError(f"the note {name!r} is larger than {self._max_bytes} bytes")
            return text.decode()
        except FileNotFoundError:
            raise ToolError(f"there is no note named {name!r}") from None
        except (OSError, UnicodeDecodeError) as problem:
            # Without its message, which may hold the path.
            raise ToolError(
                f"the note {name!r} can't be read: {type(problem).__name__}"
            ) from problem


@asynccontextmanager
async def open_provider(config: NotesConfig, context: OpenContext) -> AsyncIterator[ToolProvider]:
    folder = anyio.Path(context.base_dir) / config.path
    if not await folder.is_dir():
        raise ConfigError(f"there is no folder {folder}")
    yield Notes(config, context.name, folder)
