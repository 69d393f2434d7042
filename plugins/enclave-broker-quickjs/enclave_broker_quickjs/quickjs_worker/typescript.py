"""JavaScript out of TypeScript, by the transformer of quickjs-rs: OXC, in WebAssembly."""

from __future__ import annotations

from importlib.resources import files
from typing import cast

from wasmtime import Engine, Func, FuncType, Linker, Memory, Store

from .compiled import load

# As quickjs_rs._transform and its guest have them.
TYPESCRIPT = 1 << 0
STRIP_TYPES = 1 << 8
CONST_TO_VAR = 1 << 9
DONE = 0
UNCHANGED = 1

NO_SUCH_FILE = 8
MAX_MEMORY = 256 * 1024 * 1024
NAME = b"code.ts"


class NotTypeScriptError(Exception):
    """The text of the error says what the parser found."""


class TypeScript:
    """The transformer, compiled once; each piece of code gets an instance of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._module = load(engine, (files("quickjs_rs") / "_transform.wasm").read_bytes())

    def strip(self, code: str, *, const_to_var: bool = False) -> str:
        """The code without its types; NotTypeScriptError. ``wasmtime.Trap`` when interrupted."""
        store = Store(self._engine)
        try:
            store.set_epoch_deadline(1)
            store.set_limits(memory_size=MAX_MEMORY)
            return self._strip(store, code.encode(), CONST_TO_VAR if const_to_var else 0)
        finally:
            store.close()

    def _strip(self, store: Store, code: bytes, flags: int) -> str:
        linker = Linker(self._engine)
        for wanted in self._module.imports:
            kind = cast(FuncType, wanted.type)
            answer = 0 if wanted.name == "random_get" else NO_SUCH_FILE
            linker.define(store, wanted.module, str(wanted.name), _idle(store, kind, answer))
        exports = linker.instantiate(store, self._module).exports(store)
        memory = cast(Memory, exports["memory"])

        def call(name: str, *args: int) -> int:
            return int(cast(Func, exports[f"qjst_{name}"])(store, *args) or 0)

        def put(data: bytes) -> tuple[int, int]:
            place = call("alloc", len(data))
            memory.write(store, data, place)
            return place, len(data)

        def get(what: str) -> str:
            place = call(f"{what}_ptr")
            return bytes(memory.read(store, place, place + call(f"{what}_len"))).decode()

        status = call("transform", *put(NAME), *put(code), TYPESCRIPT | STRIP_TYPES | flags)
        if status == UNCHANGED:
            return code.decode()
        if status != DONE:
            raise NotTypeScriptError(get("error"))
        return get("result")


def _idle(store: Store, kind: FuncType, answer: int) -> Func:
    """An import that does nothing. What is random are only the seeds of hash tables."""
    return Func(store, kind, lambda *args: answer if kind.results else None)
