"""The ``[server]`` table: where it listens, whom it lets in, and what one client may use."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from enclave_broker_core.models import Count, Frozen, Seconds

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$"), AfterValidator(str.lower)]
KIB = 1024
MIB = 1024 * KIB


class DoorLimits(Frozen):
    """What one request may bring: counts, bytes, and seconds that it may take to come."""

    max_body_bytes: Count = 2 * MIB
    max_json_depth: Count = 64
    max_headers: Count = 100
    max_header_bytes: Count = 32 * KIB
    header_timeout: Seconds = 10.0
    body_timeout: Seconds = 30.0
    idle_timeout: Seconds = 15.0
    max_connections: Count = 10_000


class StreamSettings(Frozen):
    """How events are sent. ``heartbeat`` is how often, in seconds, unless the client says.

    A reader that takes nothing for ``stall_timeout`` seconds, or is more than ``max_backlog``
    events behind when it takes the next, is dropped: it can come back and replay.
    """

    heartbeat: Annotated[float, Field(ge=1, le=25)] = 15.0
    stall_timeout: Seconds = 30.0
    max_backlog: Count = 10_000
    max_per_session: Count = 16


class SocketSettings(Frozen):
    """What one WebSocket may send: bytes a message, and messages in any second.

    ``max_calls`` are the tool calls of one socket that may be under way at a time.
    """

    max_message_bytes: Count = MIB
    max_messages_per_second: Count = 100
    max_calls: Count = 32


class ServerSettings(Frozen):
    """The ``[server]`` table.

    ``origins`` are those of web pages that may use the server besides its own; ``hosts``
    the names under which it is known, besides that of the address it listens on, "*" any.
    ``idempotency_window`` is how long, in seconds, the answer to an ``Idempotency-Key`` is
    kept; ``drain_timeout`` how long sessions may go on after SIGTERM; ``ticket_key`` what
    signs tickets: several replicas need the same, one alone makes its own. ``pass_headers`` are
    headers of clients' requests that tools may pass on, those that ask for them by name.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    workers: Count = 1
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    insecure: bool = False
    limits: DoorLimits = DoorLimits()
    streams: StreamSettings = StreamSettings()
    sockets: SocketSettings = SocketSettings()
    idempotency_window: Seconds = 86_400.0
    drain_timeout: Seconds = 30.0
    pass_headers: tuple[HeaderName, ...] = ()
    ticket_key: SecretStr | None = Field(default=None, min_length=32)
