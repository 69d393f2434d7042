"""Crossing between Python and WebAssembly by wasmtime's C interface.

The Python one looks the types up and converts each value anew, every time: that is 60
microseconds for a call with two numbers, and this is 3. A call of a tool crosses twice.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from wasmtime import Func, FuncType, Memory, Store, Trap, WasmtimeError
from wasmtime import _bindings as c

TrapPointer = ctypes.POINTER(c.wasm_trap_t)
NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()


class Entry:
    """A function of a module that takes numbers and returns one, or none."""

    def __init__(self, store: Store, function: Func, arguments: int, raised: Raised) -> None:
        self._raised = raised
        self._slots = (c.wasmtime_val_raw_t * max(arguments, 1))()
        # All that is pointed to lives as long as this does.
        self._kept = (store, function)
        self._context = store._context()
        self._function = ctypes.byref(function._func)

    def __call__(self, *args: int) -> int:
        """Raises Trap, WasmtimeError, or what a Python function that it called raised."""
        slots, trap = self._slots, TrapPointer()
        for slot, arg in zip(slots, args, strict=False):
            slot.i32 = arg
        error = c.wasmtime_func_call_unchecked(
            self._context, self._function, slots, len(slots), ctypes.byref(trap)
        )
        if bool(error):
            ended: Exception = WasmtimeError._from_ptr(error)
        elif bool(trap):
            ended = Trap._from_ptr(trap)
        else:
            return int(slots[0].i32)
        # Both are taken over above, so that their memory is given back.
        self._raised.again()
        raise ended


class Raised:
    """What Python raised while WebAssembly had called it: it goes on when that has ended."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def keep(self, error: BaseException) -> Any:
        """Note it; the trap that ends the WebAssembly."""
        self._error = error
        return ctypes.cast(Trap("raised in Python")._consume(), ctypes.c_void_p).value

    def again(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def python_function(
    store: Store, kind: FuncType, act: Callable[..., int | None], raised: Raised
) -> tuple[Func, object]:
    """A function that WebAssembly calls, and what must be kept as long as it may do so."""
    arguments = len(kind.params)
    has_result = bool(kind.results)

    @c.wasmtime_func_unchecked_callback_t  # type: ignore[untyped-decorator]
    def called(env: object, caller: object, slots: Any, count: int) -> Any:
        try:
            result = act(*(slots[n].i32 for n in range(arguments)))
            if has_result:
                slots[0].i64 = result
        except BaseException as error:
            return raised.keep(error)
        return 0

    made = c.wasmtime_func_t()
    c.wasmtime_func_new_unchecked(
        store._context(), kind.ptr(), called, None, NO_FINALIZER, ctypes.byref(made)
    )
    return Func._from_raw(made), called


class View:
    """A module's memory, without the copies that ``Memory`` makes on the way."""

    def __init__(self, store: Store, memory: Memory) -> None:
        self._store = store
        self._memory = memory

    def read(self, place: int, length: int) -> bytes:
        self._check(place, length)
        return ctypes.string_at(self._base() + place, length)

    def write(self, data: bytes, place: int) -> None:
        self._check(place, len(data))
        ctypes.memmove(self._base() + place, data, len(data))

    def _base(self) -> int:
        # It may move when the memory grows.
        return ctypes.addressof(self._memory.data_ptr(self._store).contents)

    def _check(self, place: int, length: int) -> None:
        if place < 0 or length < 0 or place + length > self._memory.data_len(self._store):
            raise IndexError("beyond the sandbox's memory")
