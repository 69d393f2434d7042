"""WebAssembly modules, compiled once on a machine: that takes seconds, and a worker is to be
there in a tenth of one. wasmtime's own cache is not used: a process that is killed while that
writes leaves a lock behind, and from then on nothing is cached."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

from wasmtime import Config, Engine, Module, WasmtimeError

MAX_WASM_STACK = 2 * 1024 * 1024


def make_engine() -> Engine:
    """One engine for all modules of a worker, with time that can be ended from outside."""
    config = Config()
    config.epoch_interruption = True
    config.max_wasm_stack = MAX_WASM_STACK
    return Engine(config)


def load(engine: Engine, wasm: bytes) -> Module:
    """The module, from the user's cache if it is there and nobody else could have written it."""
    folder = _folder()
    if folder is None:
        return Module(engine, wasm)
    name = hashlib.sha256(wasm + f"{version('wasmtime')} {MAX_WASM_STACK}".encode()).hexdigest()
    place = folder / name
    with contextlib.suppress(OSError, WasmtimeError):
        return Module.deserialize(engine, place.read_bytes())
    module = Module(engine, wasm)
    with contextlib.suppress(OSError):
        _write(place, bytes(module.serialize()))
    return module


def _folder() -> Path | None:
    """Compiled code is trusted, so the folder must be ours alone; None when it can't be."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "enclave-broker-quickjs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, RuntimeError):
        return None
    return folder if found.st_uid == os.getuid() and not found.st_mode & 0o022 else None


def _write(place: Path, data: bytes) -> None:
    """All of it or nothing, also when several workers start at once."""
    handle, name = tempfile.mkstemp(dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, place)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
