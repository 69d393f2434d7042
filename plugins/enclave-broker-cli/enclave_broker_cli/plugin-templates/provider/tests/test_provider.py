"""The provider by itself: the suite of its contract, then what is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from enclave_broker_core.contracts import OpenContext, ToolProvider
from enclave_broker_core.errors import ConfigError, ToolError
from enclave_broker_core.testing.contexts import RecordingContext
from enclave_broker_core.testing.providers import Example, ToolProviderSuite
from pydantic import ValidationError
from pydantic_core import to_json

from enclave_broker_example_provider.config import NotesConfig
from enclave_broker_example_provider.provider import open_provider


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a configuration, with two notes in it."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "shopping.txt").write_text("milk ☃", encoding="utf-8")
    (tmp_path / "notes" / "empty.txt").touch()
    (tmp_path / "notes" / "picture.png").touch()
    (tmp_path / "secret.txt").write_text("out of reach")
    return tmp_path


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[ToolProvider]:
    context = OpenContext("notes", str(folder))
    async with open_provider(NotesConfig(path="notes", **settings), context) as provider:
        yield provider


class TestNotes(ToolProviderSuite):
    examples = (
        Example("notes:read", {"name": "shopping"}, "milk ☃", {"name": "../secret"}, "name"),
        Example("notes:list", {}, ["empty", "shopping"], {"folder": "elsewhere"}, "folder"),
    )

    @pytest.fixture(autouse=True)
    def in_folder(self, folder: Path) -> None:
        self.folder = folder

    @asynccontextmanager
    async def open_provider(self) -> AsyncIterator[ToolProvider]:
        async with opened(self.folder) as provider:
            yield provider


async def read(provider: ToolProvider, name: str) -> Any:
    """What ``notes:read`` answers."""
    _, tool = await provider.tools()
    arguments = tool.validate(to_json({"name": name}))
    return await tool.invoke(arguments, RecordingContext("notes:read"))


@pytest.mark.anyio
async def test_a_note_that_can_not_be_read_is_a_tool_error(folder: Path) -> None:
    (folder / "notes" / "odd.txt").write_bytes(b"\xff")
    (folder / "notes" / "folder.txt").mkdir()
    (folder / "notes" / "full.txt").write_text("12345678")
    (folder / "notes" / "larger.txt").write_text("123456789")
    async with opened(folder, max_bytes=8) as provider:
        assert await read(provider, "full") == "12345678"
        for name, said in {
            "missing": "there is no note named 'missing'",
            "odd": "the note 'odd' can't be read: UnicodeDecodeError",
            "folder": "the note 'folder' can't be read: IsADirectoryError",
            "larger": "the note 'larger' is larger than 8 bytes",
        }.items():
            with pytest.raises(ToolError) as caught:
                await read(provider, name)
            assert caught.value.message == said


@pytest.mark.anyio
async def test_a_folder_that_there_is_not_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        async with opened(tmp_path):
            raise AssertionError("it opened")


@pytest.mark.parametrize("wrong", [{}, {"path": ""}, {"path": "notes", "max_bytes": 0}])
def test_a_wrong_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NotesConfig.model_validate(wrong)
