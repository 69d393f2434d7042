"""All sources keep the contract."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import ClassVar

import anyio
import anyio.to_thread
from enclave_broker_secrets.config import FilesConfig, TomlConfig
from enclave_broker_secrets.mounted_files import open_files
from enclave_broker_secrets.system_keyring import SystemKeyring
from enclave_broker_secrets.toml_file import open_toml
from keyrings.alt.file import PlaintextKeyring

from enclave_broker_core.contracts import OpenContext, SecretSource
from enclave_broker_core.testing.secret_sources import SecretSourceSuite

KNOWN: Mapping[str, str] = {"API_TOKEN": "tok-93f1a2", "db.password": "pass-5b77c0"}


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as path:
        yield Path(path)


def replace(path: Path, text: str) -> None:
    """In one step, as whoever rotates a secret should."""
    fresh = path.with_name(f"{path.name}.fresh")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.replace(path)


class TestMountedFiles(SecretSourceSuite):
    known: ClassVar = KNOWN

    @asynccontextmanager
    async def open_source(self) -> AsyncIterator[SecretSource]:
        with folder() as self.path:
            for name, value in self.known.items():
                (self.path / name).write_text(f"{value}\n")
            async with open_files(FilesConfig(path=self.path), OpenContext("secrets")) as source:
                yield source

    async def rotate(self, name: str, value: str) -> None:
        replace(self.path / name, f"{value}\n")

    @asynccontextmanager
    async def open_broken_source(self) -> AsyncIterator[SecretSource]:
        async with self.open_source() as source:
            for name, value in self.known.items():
                await source.get(name)
                replace(self.path / name, f"\xff{value}")
                (self.path / name).write_bytes(b"\xff" + value.encode())
            yield source


class TestKubernetesVolume(SecretSourceSuite):
    """Links to a folder beside them, which is exchanged as a whole."""

    known: ClassVar = KNOWN

    @asynccontextmanager
    async def open_source(self) -> AsyncIterator[SecretSource]:
        with folder() as self.path:
            self.values = dict(self.known)
            self.version = 0
            self.publish()
            for name in self.known:
                (self.path / name).symlink_to(f"..data/{name}")
            async with open_files(FilesConfig(path=self.path), OpenContext("secrets")) as source:
                yield source

    def publish(self) -> None:
        """As the kubelet does it."""
        self.version += 1
        fresh, link = self.path / f"..version_{self.version}", self.path / "..data_tmp"
        fresh.mkdir()
        for name, value in self.values.items():
            (fresh / name).write_text(value)
        link.symlink_to(fresh.name)
        before = (self.path / "..data").exists() and os.readlink(self.path / "..data")
        link.replace(self.path / "..data")
        if before:
            for name in self.values:
                (self.path / before / name).unlink()
            (self.path / before).rmdir()

    async def rotate(self, name: str, value: str) -> None:
        self.values[name] = value
        self.publish()

    @asynccontextmanager
    async def open_broken_source(self) -> AsyncIterator[SecretSource]:
        async with self.open_source() as source:
            shutil.rmtree(self.path)
            yield source

    async def test_while_it_is_exchanged_each_value_is_whole_and_none_is_older(self) -> None:
        """A thread does it as fast as it can, and each look-up meets it somewhere else."""
        done = threading.Event()

        def exchange() -> None:
            while not done.is_set():
                self.values["API_TOKEN"] = f"token-{self.version:08}"
                self.publish()

        async with self.open_source() as source, anyio.create_task_group() as group:
            self.values["API_TOKEN"] = "token-00000000"
            self.publish()
            group.start_soon(anyio.to_thread.run_sync, exchange)
            try:
                seen = [str(await source.get("API_TOKEN")) for _ in range(300)]
            finally:
                done.set()
        assert {len(value) for value in seen} == {len("token-00000000")}
        assert seen == sorted(seen)
        assert len(set(seen)) > 1


class TestTomlFile(SecretSourceSuite):
    known: ClassVar = KNOWN

    @asynccontextmanager
    async def open_source(self) -> AsyncIterator[SecretSource]:
        with folder() as directory:
            self.path = directory / "secrets.toml"
            self.values = dict(self.known)
            await self.rotate("API_TOKEN", self.known["API_TOKEN"])
            async with open_toml(TomlConfig(path=self.path), OpenContext("secrets")) as source:
                yield source

    async def rotate(self, name: str, value: str) -> None:
        self.values[name] = value
        text = 'API_TOKEN = "{API_TOKEN}"\n[db]\npassword = "{password}"\nport = 5432\n'
        values = {key.removeprefix("db."): item for key, item in self.values.items()}
        replace(self.path, text.format(**values))

    @asynccontextmanager
    async def open_broken_source(self) -> AsyncIterator[SecretSource]:
        async with self.open_source() as source:
            replace(self.path, f'{self.path.read_text()}more = "{KNOWN["API_TOKEN"]}" and more')
            yield source


class FileKeyring(PlaintextKeyring):
    """A keyring of the library keyrings.alt, in a file of the test."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file_path = str(path)


class LockedKeyring(FileKeyring):
    def get_password(self, service: str, username: str) -> str | None:
        raise RuntimeError(f"locked, and {KNOWN[username]} stays where it is")


class TestSystemKeyring(SecretSourceSuite):
    known: ClassVar = KNOWN

    @asynccontextmanager
    async def open_source(self) -> AsyncIterator[SecretSource]:
        with folder() as directory:
            self.keyring = FileKeyring(directory / "keyring.cfg")
            for name, value in self.known.items():
                self.keyring.set_password("broker", name, value)
                self.keyring.set_password("another", f"{name}_", value)
            yield SystemKeyring(self.keyring, "broker")

    async def rotate(self, name: str, value: str) -> None:
        self.keyring.set_password("broker", name, value)

    @asynccontextmanager
    async def open_broken_source(self) -> AsyncIterator[SecretSource]:
        yield SystemKeyring(LockedKeyring(Path("none")), "broker")
