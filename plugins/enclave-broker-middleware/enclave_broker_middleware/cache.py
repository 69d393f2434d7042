"""Answers a call as the same one was answered before."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
from pydantic import model_validator
from pydantic_core import PydanticSerializationError, from_json, to_json

from enclave_broker_core.calls import ToolCall
from enclave_broker_core.contracts import CallNext, Middleware, OpenContext
from enclave_broker_core.errors import DeadlineExceededError
from enclave_broker_core.models import Count, Frozen, Seconds, ToolSpec
from enclave_broker_core.secrets import CALLER

from .cache_key import key_of, normal_arguments
from .kept_answers import KeptAnswers
from .selection import ToolPatterns, Tools, whole


class CacheConfig(Frozen):
    """What is kept, for how long and for whom.

    An answer is for the same principal: id, tenant, roles and attributes.
    """

    tools: ToolPatterns | None = None
    """Patterns of the tools whose answers are kept; those that are ``read_only`` unless given."""
    ttl: Seconds = 60.0
    """Seconds for which an answer is kept."""
    max_entries: Count = 1000
    """Answers that are kept."""
    max_bytes: Count = 16 * 1024 * 1024
    """Bytes of the JSON text of these answers."""
    per_session: bool = False
    """Whether an answer is for the same session only."""
    shared: bool = False
    """Whether an answer is for all who may use the tool."""
    metadata: tuple[str, ...] = ()
    """Keys of the session's metadata that keep answers apart."""

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.shared and self.per_session:
            raise ValueError("an answer can't be for one session and shared by all")
        return self


class Flight:
    """A call that others wait for, until the time is over that it has itself.

    ``text`` is its answer, None when it has none for them; ``failed`` tells an error from a
    cancellation. One that was let go never lands, which is why there is an end to it.
    """

    __slots__ = ("done", "failed", "spec", "text", "until")

    def __init__(self, spec: ToolSpec, until: float) -> None:
        self.spec = spec
        self.until = until
        self.done = anyio.Event()
        self.text: bytes | None = None
        self.failed = False


class Cache:
    """Keeps answers as JSON text, and of equal calls at once makes one.

    Errors are not kept; those who waited for a call that failed make their own. When the
    call that they wait for is cancelled, the next of them makes it. An answer goes when
    its tool is published anew. A tool that passes a header of its caller's own request on
    is for ``per_session`` only, since what it answers is the header's owner's.
    """

    def __init__(
        self, config: CacheConfig | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        config = self._config = config or CacheConfig()
        self._tools = None if config.tools is None else Tools(config.tools)
        self._kept = KeptAnswers(config.ttl, config.max_entries, config.max_bytes, clock)
        self._flights: dict[bytes, Flight] = {}

    async def __call__(self, call: ToolCall, call_next: CallNext) -> Any:
        spec = call.spec
        if spec is None or not self._is_for(call.name, spec):
            return await call_next(call)
        try:
            key = self._key(call, spec)
        except (ValueError, RecursionError):
            return await call_next(call)
        while True:
            text = self._kept.get(key, spec)
            if text is not None:
                return from_json(text)
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(key, spec, call, call_next)
            # A tool's own call could wait for the very call that waits for the tool.
            if call.depth or flight.spec is not spec:
                return (await self._made(key, spec, call, call_next))[0]
            deadline = anyio.current_time() + call.remaining()
            with anyio.CancelScope(deadline=min(deadline, flight.until)):
                await flight.done.wait()
            if not flight.done.is_set():
                if deadline <= flight.until:
                    raise DeadlineExceededError(
                        f"{call.name} had not answered the same call when the time was over"
                    )
                self._forget(key, flight)
                continue
            if flight.text is not None:
                return from_json(flight.text)
            if flight.failed:
                return (await self._made(key, spec, call, call_next))[0]

    async def _lead(self, key: bytes, spec: ToolSpec, call: ToolCall, call_next: CallNext) -> Any:
        flight = Flight(spec, anyio.current_time() + call.remaining())
        self._flights[key] = flight
        try:
            answer, flight.text = await self._made(key, spec, call, call_next)
            flight.failed = flight.text is None
            return answer
        except Exception:
            flight.failed = True
            raise
        finally:
            self._forget(key, flight)
            flight.done.set()

    def _forget(self, key: bytes, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _made(
        self, key: bytes, spec: ToolSpec, call: ToolCall, call_next: CallNext
    ) -> tuple[Any, bytes | None]:
        """The answer from below and, when it can be kept, its text."""
        answer = await call_next(call)
        try:
            text = to_json(answer)
        except (PydanticSerializationError, ValueError):
            return answer, None
        self._kept.put(key, spec, text)
        return answer, text

    def _is_for(self, name: str, spec: ToolSpec) -> bool:
        if not self._config.per_session and any(one.startswith(CALLER) for one in spec.secrets):
            return False
        return spec.read_only if self._tools is None else name in self._tools

    def _key(self, call: ToolCall, spec: ToolSpec) -> bytes:
        config, principal, metadata = self._config, call.principal, call.metadata
        who = None if config.shared else whole(principal)
        # Of those who have not shown who they are, all have one name.
        nameless = principal is not None and not principal.authenticated
        session = config.per_session or (nameless and not config.shared)
        return key_of(
            call.name,
            normal_arguments(call.arguments_json, spec.input_schema),
            who,
            call.session_id if session else None,
            {name: metadata[name] for name in config.metadata if name in metadata},
        )


@asynccontextmanager
async def open_cache(config: CacheConfig, context: OpenContext) -> AsyncIterator[Middleware]:
    yield Cache(config)
