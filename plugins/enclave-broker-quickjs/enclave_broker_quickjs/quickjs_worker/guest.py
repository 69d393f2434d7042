"""The one sandbox of a worker: as it was made, or as it was saved."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable

from wasmtime import Engine, Val

from .crossing import Entry
from .machine import NEVER, Code, Machine

PAGE = 4096
WASM_PAGE = 65536
MAX_WASM_PAGES = 65536
ROOM = 64 * 1024
"""Bytes of the buffer in the sandbox through which most messages go in."""
SYNTAX_ERROR = 1
SLACK = 8 * 1024 * 1024
"""What the sandbox may take beyond the limit of its JavaScript heap: its own code's copies."""
FUNCTIONS = ("begin", "heard", "watch", "failed")
"""What prelude.js gives. The adapter has where they are, and where it has room."""
VARIABLES = (*FUNCTIONS, "room")

_HEAD = struct.Struct("<32sII")
_PLACE = struct.Struct("<I")


class NotASavedStateError(Exception):
    """These bytes are no state of this version of the sandbox."""


class Guest:
    """A sandbox. ``said`` gets each message that comes out of it; what it raises ends the call.

    A call into it raises ``wasmtime.Trap`` when it was interrupted or has broken. Then, as
    after each run, the next thing to do is ``reset``, which leaves nothing of what was before.
    """

    def __init__(self, engine: Engine, said: Callable[[bytes], None]) -> None:
        self._code = Code(engine)
        self._said = said
        # Every worker makes the same memory, so that a state can be what differs from it.
        self._machine = machine = Machine(self._code, said, still=True)
        self._buffer = _make(machine, self._code.prelude)
        machine.still = False
        self._image = machine.read(0, machine.memory.data_len(machine.store))
        self._variables = {name: machine.get(name) for name in VARIABLES}
        self._stack_pointer = machine.stack_pointer.value(machine.store)
        self.build = hashlib.sha256(self._code.version + self._image).digest()
        self._seed()

    # Calls

    def tell(self, message: bytes) -> None:
        """Give a message to prelude.js, and let the code go on until it waits.

        MemoryError when there is no room for it.
        """
        if self._with(self._machine.tell, message) != 0:
            raise MemoryError

    def script(self, source: bytes) -> bool:
        """Run a script until it waits; False, and prelude.js says why, for what is none."""
        status = self._with(self._machine.script, source)
        if status not in (0, SYNTAX_ERROR):
            raise MemoryError
        return status == 0

    def limit(self, memory: int) -> None:
        """What the JavaScript heap may have, in bytes."""
        machine = self._machine
        machine.store.set_limits(memory_size=len(self._image) + memory + SLACK)
        machine.limit(memory)

    @property
    def grown(self) -> int:
        """Bytes that this run has made the sandbox's memory longer at the most."""
        return self._machine.memory.data_len(self._machine.store) - len(self._image)

    def arm(self) -> None:
        """From now on ``engine.increment_epoch`` interrupts what goes on in here."""
        self._machine.store.set_epoch_deadline(1)

    def _with(self, function: Entry, message: bytes) -> int:
        machine = self._machine
        if len(message) <= ROOM:
            machine.write(message, self._buffer)
            return function(self._buffer, len(message))
        place, length = machine.put(message)
        status = function(place, length)
        machine.call("qjs_free", place, length)
        return status

    # States

    def reset(self) -> None:
        """Make all as it was at first."""
        self._return()
        self._seed()

    def save(self) -> bytes:
        """The pages that differ from the first state, to be called when the code waits."""
        machine, image = self._machine, self._image
        memory = machine.read(0, machine.memory.data_len(machine.store))
        stack_pointer = machine.stack_pointer.value(machine.store)
        parts = [_HEAD.pack(self.build, len(memory) // WASM_PAGE, stack_pointer)]
        for start in range(0, len(memory), PAGE):
            page = memory[start : start + PAGE]
            if page != image[start : start + PAGE]:
                parts += [_PLACE.pack(start // PAGE), page]
        return b"".join(parts)

    def restore(self, state: bytes) -> None:
        """Make all as it was at ``save``; NotASavedStateError."""
        pages, stack_pointer = self._checked(state)
        self._return()
        machine = self._machine
        machine.grow_to(pages)
        for at in range(_HEAD.size, len(state), _PLACE.size + PAGE):
            (number,) = _PLACE.unpack_from(state, at)
            start = at + _PLACE.size
            machine.write(state[start : start + PAGE], number * PAGE)
        machine.stack_pointer.set_value(machine.store, Val.i32(stack_pointer))
        self._seed()

    def _checked(self, state: bytes) -> tuple[int, int]:
        if len(state) < _HEAD.size or (len(state) - _HEAD.size) % (_PLACE.size + PAGE):
            raise NotASavedStateError
        build, pages, stack_pointer = _HEAD.unpack_from(state)
        if (
            build != self.build
            or not len(self._image) <= pages * WASM_PAGE <= MAX_WASM_PAGES * WASM_PAGE
        ):
            raise NotASavedStateError
        for at in range(_HEAD.size, len(state), _PLACE.size + PAGE):
            if _PLACE.unpack_from(state, at)[0] >= pages * (WASM_PAGE // PAGE):
                raise NotASavedStateError
        return pages, stack_pointer

    def _return(self) -> None:
        """To the first memory, in a new store when this one's has grown: it can't shrink.

        Besides memory, a store of these modules has one thing that changes, the stack pointer.
        """
        if self._machine.memory.data_len(self._machine.store) != len(self._image):
            self._machine.close()
            self._machine = Machine(self._code, self._said)
            self._machine.grow_to(len(self._image) // WASM_PAGE)
            for name, value in self._variables.items():
                self._machine.set(name, value)
        machine = self._machine
        machine.store.set_epoch_deadline(NEVER)
        machine.write(self._image, 0)
        machine.stack_pointer.set_value(machine.store, Val.i32(self._stack_pointer))

    def _seed(self) -> None:
        numbers = list(struct.unpack("<4I", os.urandom(16)))
        self.tell(f"s{numbers}".encode())


def _make(machine: Machine, prelude: bytes) -> int:
    """Run the prelude and note where what it gave is; where the buffer for messages is."""
    room = machine.call("qjs_alloc", 16)
    machine.set("room", room)

    def made(status: int) -> int:
        if status:
            raise RuntimeError("the sandbox can't be made: quickjs-rs is not as expected")
        return int.from_bytes(machine.read(room, 4), "little")

    make = made(machine.call("eval_code", *machine.put(prelude), room))
    say = machine.call("new_function", *machine.put(b"say"))
    machine.write(say.to_bytes(4, "little"), room + 4)
    undefined = machine.call("new_undefined")
    functions = made(machine.call("call_function", make, undefined, room + 4, 1, room))
    for name in FUNCTIONS:
        machine.set(
            name, made(machine.call("get_prop", functions, *machine.put(name.encode()), room))
        )
    machine.call("execute_pending_jobs")
    machine.call("run_gc")
    return machine.call("qjs_alloc", ROOM)
