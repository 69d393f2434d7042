"""The secret source by itself: the suite of its contract, then what is its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from enclave_broker_core.contracts import OpenContext, SecretSource
from enclave_broker_core.errors import SecretError
from enclave_broker_core.testing.secret_sources import SecretSourceSuite
from pydantic import ValidationError

from enclave_broker_example_secrets.config import EnvFileConfig
from enclave_broker_example_secrets.source import open_source, values_of


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[SecretSource]:
    context = OpenContext("secrets[0]", str(folder))
    async with open_source(EnvFileConfig(**settings), context) as source:
        yield source


class TestEnvFile(SecretSourceSuite):
    known = {"TOKEN": "tok-93f1a2b4c5", "PASSWORD": "pass-5b77c0=d8e1"}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def in_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.values = dict(self.known)
        self.write()

    def write(self) -> None:
        lines = [f"{name}={value}\n" for name, value in self.values.items()]
        (self.folder / ".env").write_text("".join(["# secrets\n", *lines]))

    @asynccontextmanager
    async def open_source(self) -> AsyncIterator[SecretSource]:
        async with opened(self.folder) as source:
            yield source

    @asynccontextmanager
    async def open_broken_source(self) -> AsyncIterator[SecretSource]:
        async with opened(self.folder) as source:
            (self.folder / ".env").write_bytes(b"TOKEN=tok-93f1a2b4c5\xff")
            yield source

    async def rotate(self, name: str, value: str) -> None:
        self.values[name] = value
        self.write()


@pytest.mark.anyio
async def test_a_file_that_can_not_be_read_is_an_error(tmp_path: Path) -> None:
    async with opened(tmp_path, max_bytes=8) as source:
        with pytest.raises(SecretError, match="No such file"):
            await source.get("A")
        (tmp_path / ".env").write_text("A=123456")
        assert await source.get("A") == "123456"
        (tmp_path / ".env").write_text("A=1234567")
        with pytest.raises(SecretError, match="larger than 8 bytes"):
            await source.get("A")


def test_what_lines_come_to() -> None:
    text = "A=1\n# B=2\n#C=3\n  D = 4 = 5 \n=6\nE=\nno value\n\nA=7\n"
    assert values_of(text) == {"A": "7", "D": "4 = 5"}


def test_a_wrong_configuration_is_refused() -> None:
    with pytest.raises(ValidationError):
        EnvFileConfig(path="")
