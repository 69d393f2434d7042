"""What a worker process and the broker say to each other: a kind, a length, and bytes."""

from __future__ import annotations

import json
import struct
from typing import Any

HEAD = struct.Struct("<cI")
MAX_FRAME = 1 << 30

# To the worker
RUN = b"R"
"""A packed header and a state: run the header's code, or go on with the state's."""
ANSWERS = b"A"
"""How many calls have an outcome, and the outcomes as the sandbox's prelude reads them."""
PARK = b"P"
"""Save the run that waits, and be free for another."""
SAVE = b"V"
"""Say the state of the run that waits, which goes on waiting."""
STOP = b"S"
"""End the run that waits, or nothing."""

# From the worker
READY = b"Y"
"""The process can run code; the version of its sandbox."""
SAID = b"s"
"""A message of the sandbox: a call, a line that was printed or logged."""
WAITS = b"w"
"""The code goes on when a call has its answer."""
STATE = b"t"
"""What the run leaves: the processor time it took, and the state."""
END = b"e"
"""The run is over: one letter that says how, and a text. The worker is free."""

SECONDS = struct.Struct("<d")
COUNT = struct.Struct("<I")

# How a run ends
RESULT = b"r"
RAISED = b"e"
SYNTAX = b"y"
NO_JSON = b"x"
STUCK = b"d"
TOO_LARGE = b"R"
TOO_MUCH_OUTPUT = b"O"
TOO_MANY_CALLS = b"C"
OUT_OF_TIME = b"t"
OUT_OF_MEMORY = b"m"
TOO_DEEP = b"s"
NO_STATE = b"n"
BROKEN = b"b"
PARKED = b"k"
STOPPED = b"o"

KEEPS_STATE = frozenset({RESULT, RAISED, SYNTAX, NO_JSON, STUCK, TOO_LARGE})
"""After these the sandbox is whole; after the others it is in the middle of something."""


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(payload)) + payload


def pack(header: bytes, state: bytes) -> bytes:
    """The payload of RUN; the header is JSON."""
    return COUNT.pack(len(header)) + header + state


def unpack(payload: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = COUNT.unpack_from(payload)
    return json.loads(payload[4 : 4 + length]), payload[4 + length :]
