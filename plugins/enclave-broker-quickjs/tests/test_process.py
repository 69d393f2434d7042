"""The worker process by itself: what it compiles and keeps, and that it never outlives a broker."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from enclave_broker_quickjs.quickjs_worker import compiled
from wasmtime import Engine, Module, wat2wasm

MODULE = bytes(wat2wasm('(module (func (export "two") (result i32) (i32.const 2)))'))

BROKER = """
import anyio
from enclave_broker_quickjs.config import QuickJSConfig
from enclave_broker_quickjs.runtime import QuickJSRuntime
from enclave_broker_quickjs.workers import Workers
from enclave_broker_core.testing.hosts import RecordingHost

class Host(RecordingHost):
    async def stdout(self, chunk):
        print(chunk, flush=True)

async def main():
    config = QuickJSConfig(workers=1)
    async with Workers.open(config) as workers:
        worker = await workers.take()
        workers.give_back(worker)
        print(worker.pid, flush=True)
        async with QuickJSRuntime(workers, config).session(Host()) as session:
            await session.run("console.log('begun'); for (;;);")

anyio.run(main)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for a process by its pidfd: Linux")
def test_a_worker_that_computes_ends_with_its_broker() -> None:
    with subprocess.Popen([sys.executable, "-c", BROKER], stdout=subprocess.PIPE) as broker:
        assert broker.stdout is not None
        worker = os.pidfd_open(int(broker.stdout.readline()))
        try:
            assert broker.stdout.readline() == b"begun\n"
            broker.send_signal(signal.SIGKILL)
            ready, _, _ = select.select([worker], [], [], 20)
            assert ready == [worker]
        finally:
            os.close(worker)


# Compiled code


@pytest.fixture
def engine() -> Engine:
    return compiled.make_engine()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "enclave-broker-quickjs"


def exports(module: Module) -> list[str | None]:
    return [export.name for export in module.exports]


def test_a_module_is_compiled_once(engine: Engine, folder: Path, monkeypatch) -> None:
    assert exports(compiled.load(engine, MODULE)) == ["two"]
    (kept,) = folder.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(compiled, "Module", _OnlyKept)
    assert exports(compiled.load(engine, MODULE)) == ["two"]
    assert list(folder.iterdir()) == [kept]


class _OnlyKept:
    deserialize = staticmethod(Module.deserialize)

    def __init__(self, *args: object) -> None:
        raise AssertionError("compiled again")


@pytest.mark.parametrize("damage", [b"", b"no code", b"\x7fELF" + bytes(5000)])
def test_what_is_no_compiled_code_is_made_anew(engine: Engine, folder: Path, damage: bytes) -> None:
    compiled.load(engine, MODULE)
    (kept,) = folder.iterdir()
    kept.write_bytes(damage)
    assert exports(compiled.load(engine, MODULE)) == ["two"]
    assert kept.read_bytes() != damage


def test_a_folder_that_others_can_write_to_is_not_used(engine: Engine, folder: Path) -> None:
    compiled.load(engine, MODULE)
    (kept,) = folder.iterdir()
    kept.write_bytes(b"theirs")
    folder.chmod(0o770)
    assert exports(compiled.load(engine, MODULE)) == ["two"]
    assert kept.read_bytes() == b"theirs"


def test_without_a_place_for_a_folder_all_is_compiled(
    engine: Engine, monkeypatch, tmp_path
) -> None:
    place = tmp_path / "a file"
    place.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    assert exports(compiled.load(engine, MODULE)) == ["two"]
