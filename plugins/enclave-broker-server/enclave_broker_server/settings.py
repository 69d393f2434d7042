"""The ``[server]`` table: where it listens, whom it lets in, and what one client may use."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from enclave_broker_core.models import Count, Frozen, Seconds

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$"), AfterValidator(str.lower)]
KIB = 1024
MIB = 1024 * KIB


class DoorLimits(Frozen):
    """What one request may bring, and how long it may take to come."""

    max_body_bytes: Count = 2 * MIB
    """Bytes of a body."""
    max_json_depth: Count = 64
    """How deep arrays and objects of a JSON body may be nested."""
    max_headers: Count = 100
    """Headers of a request."""
    max_header_bytes: Count = 32 * KIB
    """Bytes of all headers together, and of a URL."""
    header_timeout: Seconds = 10.0
    """Seconds until all headers are there."""
    body_timeout: Seconds = 30.0
    """Seconds until all of a body is there."""
    idle_timeout: Seconds = 15.0
    """Seconds for which a connection is kept between two requests."""
    max_connections: Count = 10_000
    """Connections at a time, of each process."""


class StreamSettings(Frozen):
    """How events are sent. A reader that is dropped can come back and replay."""

    heartbeat: Annotated[float, Field(ge=1, le=25)] = 15.0
    """How often, in seconds, a stream gives a sign of life, unless the client says."""
    stall_timeout: Seconds = 30.0
    """Seconds after which a reader that takes nothing is dropped."""
    max_backlog: Count = 10_000
    """Events that a reader may be behind when it takes the next; else it is dropped."""
    max_per_session: Count = 16
    """Streams of one session at a time."""


class SocketSettings(Frozen):
    """What one WebSocket may send."""

    max_message_bytes: Count = MIB
    """Bytes of a message."""
    max_messages_per_second: Count = 100
    """Messages in any second."""
    max_calls: Count = 32
    """Its tool calls that may be under way at a time."""


class ServerSettings(Frozen):
    """The ``[server]`` table."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """The port to listen on; 0 is any that is free."""
    workers: Count = 1
    """Processes that serve together."""
    origins: tuple[str, ...] = ()
    """Origins of web pages that may use the server, besides its own."""
    hosts: tuple[str, ...] = ()
    """Names under which it is known, besides that of its address; "*" is any."""
    insecure: bool = False
    """Whether everybody who reaches an address that is not the loopback one is let in."""
    limits: DoorLimits = DoorLimits()
    """What one request may bring."""
    streams: StreamSettings = StreamSettings()
    """How events are sent."""
    sockets: SocketSettings = SocketSettings()
    """What one WebSocket may send, and how much of it at a time."""
    idempotency_window: Seconds = 86_400.0
    """Seconds for which the answer to an ``Idempotency-Key`` is kept."""
    drain_timeout: Seconds = 30.0
    """Seconds for which sessions may go on after SIGTERM."""
    pass_headers: tuple[HeaderName, ...] = ()
    """Headers of clients' requests that tools may pass on which ask for them by name."""
    ticket_key: SecretStr | None = Field(default=None, min_length=32)
    """Signs tickets: several replicas need the same, one alone makes its own."""
