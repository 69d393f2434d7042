"""How patient a client is, and how much it takes from a server."""

from __future__ import annotations

from pydantic import Field

from enclave_broker_core.models import Count, Frozen, Seconds

KIB = 1024
MIB = 1024 * KIB


class ClientSettings(Frozen):
    """Times are in seconds, sizes in bytes.

    ``timeout`` is how long the server may take to begin its answer, and ``call_timeout`` the
    same for a tool call. A stream that brings nothing for ``heartbeat_timeout``, not even a
    heartbeat, is taken for dead; the server sends one every 15 s unless it is told otherwise.

    What failed is tried ``attempts`` times in a row, the pauses between them growing from
    ``first_pause`` to ``longest_pause``: a server that asks for a longer one is given up.

    One event has up to ``max_line_bytes``, any other answer up to ``max_answer_bytes``. Up to
    ``max_handlers`` of a session's client tools run at once.
    """

    connect_timeout: Seconds = 10.0
    timeout: Seconds = 30.0
    call_timeout: Seconds = 3600.0
    heartbeat_timeout: Seconds = 30.0
    attempts: Count = 6
    first_pause: float = Field(default=0.25, ge=0, le=3600)
    longest_pause: float = Field(default=8.0, ge=0, le=3600)
    max_line_bytes: Count = 16 * MIB
    max_answer_bytes: Count = 64 * MIB
    max_handlers: Count = 16
