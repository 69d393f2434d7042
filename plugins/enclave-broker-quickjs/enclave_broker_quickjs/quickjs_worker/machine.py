"""QuickJS's WebAssembly module between the two modules that shut it off from everything else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any, cast

from wasmtime import (
    Engine,
    Func,
    FuncType,
    Global,
    Instance,
    Linker,
    Memory,
    Module,
    Store,
    Val,
    ValType,
    wat2wasm,
)

from .compiled import load
from .crossing import Entry, Raised, View, python_function

NEVER = 1 << 60


class Code:
    """The three modules, compiled, and what tells one version of them from another."""

    def __init__(self, engine: Engine) -> None:
        here = files(__package__ or "quickjs_worker")
        shim = wat2wasm((here / "shim.wat").read_text())
        adapter = wat2wasm((here / "adapter.wat").read_text())
        quickjs = (files("quickjs_rs") / "_guest.wasm").read_bytes()
        self.prelude = (here / "prelude.js").read_bytes()
        self.version = quickjs + self.prelude
        self.engine = engine
        self.shim: Module = load(engine, bytes(shim))
        self.adapter: Module = load(engine, bytes(adapter))
        self.quickjs: Module = load(engine, quickjs)


class Machine:
    """A fresh store with the three modules in it.

    ``said`` gets what the sandbox says. A machine that is ``still`` has a clock that stands at 0
    and no chance, so that what it makes of the same code is the same everywhere.
    """

    def __init__(self, code: Code, said: Callable[[bytes], None], *, still: bool = False) -> None:
        self._said = said
        self.still = still
        self.store = store = Store(code.engine)
        store.set_epoch_deadline(NEVER)
        i32, i64 = ValType.i32(), ValType.i64()
        linker = Linker(code.engine)
        functions: list[tuple[str, FuncType, Callable[..., Any]]] = [
            ("said", FuncType([i32, i32], []), self._on_said),
            ("now", FuncType([i32], [i64]), self._now),
            ("random", FuncType([i32, i32], []), self._random),
        ]
        raised = Raised()
        self._kept = []
        for name, kind, function in functions:
            made, kept = python_function(store, kind, function, raised)
            linker.define(store, "env", name, made)
            self._kept.append(kept)
        shim = linker.instantiate(store, code.shim).exports(store)
        linker.define(store, "shim", "table", shim["table"])
        for wanted in code.quickjs.imports:
            linker.define(store, wanted.module, str(wanted.name), shim[str(wanted.name)])
        self._quickjs: Instance = linker.instantiate(store, code.quickjs)
        linker.define_instance(store, "guest", self._quickjs)
        self._adapter: Instance = linker.instantiate(store, code.adapter)
        self.memory = cast(Memory, self._quickjs.exports(store)["memory"])
        self._view = View(store, self.memory)
        self.read = self._view.read
        self.write = self._view.write
        self.stack_pointer = cast(Global, self._quickjs.exports(store)["__stack_pointer"])
        exports = self._adapter.exports(store)
        self.tell, self.script, self.limit = (
            Entry(store, cast(Func, exports[name]), arguments, raised)
            for name, arguments in [("tell", 2), ("script", 2), ("limit", 1)]
        )

    def call(self, name: str, *args: int) -> int:
        """One of the functions that QuickJS's module exports."""
        function = cast(Func, self._quickjs.exports(self.store)[name])
        return int(function(self.store, *args) or 0)

    def get(self, name: str) -> int:
        """One of the adapter's variables."""
        return int(cast(Global, self._adapter.exports(self.store)[name]).value(self.store))

    def set(self, name: str, value: int) -> None:
        variable = cast(Global, self._adapter.exports(self.store)[name])
        variable.set_value(self.store, Val.i32(value))

    def put(self, data: bytes) -> tuple[int, int]:
        """Place and length of a copy in memory of its own; MemoryError."""
        place = self.call("qjs_alloc", len(data))
        if place == 0:
            raise MemoryError
        self.write(data, place)
        return place, len(data)

    def grow_to(self, pages: int) -> None:
        missing = pages - self.memory.size(self.store)
        if missing > 0:
            self.memory.grow(self.store, missing)

    def close(self) -> None:
        self.store.close()

    # What it may ask of Python: nothing else is in its reach.

    def _on_said(self, place: int, length: int) -> None:
        self._said(self._view.read(place, length))

    def _now(self, clock: int) -> int:
        if self.still:
            return 0
        return time.time_ns() if clock == 0 else time.monotonic_ns()

    def _random(self, place: int, length: int) -> None:
        self._view.write(bytes(length) if self.still else os.urandom(length), place)
