"""A client's place at a broker, and the one session that it has there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import anyio
from mcp import types
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged

from enclave_broker_core.broker import Broker
from enclave_broker_core.errors import SessionEndedError
from enclave_broker_core.models import Principal, ToolSpec
from enclave_broker_core.session import Session

from .contexts import Context
from .errors import RETRY_AFTER, TooManyCallsError
from .logs import Logs
from .settings import ServingConfig

# Streams of notifications that one client may have open.
MOST_LISTENING = 16
# How long, in seconds, a client may take to take a notification.
TELLING_TIME = 5.0


class Connected(Protocol):
    """The connection of a client that is told of changes without asking."""

    async def send_tool_list_changed(self) -> None: ...


class Seat:
    """Holds the session of one MCP session, or of all requests of a principal that have none.

    The session is opened when it is first needed and is its principal's. It may end before the
    seat does, by its own limits; the next request then opens another.
    """

    def __init__(self, config: ServingConfig) -> None:
        self._config = config
        self._opening = anyio.Lock()
        self._session: Session | None = None
        self._closed = False
        self._calls = 0
        self._held = 0
        self._quiet = anyio.Event()
        self.listed: Mapping[str, ToolSpec] | None = None
        self.connection: Connected | None = None
        self.logs = Logs()
        self._listeners = 0
        self._bus = InMemorySubscriptionBus()
        self._listening = ListenHandler(self._bus, max_subscriptions=MOST_LISTENING)

    @property
    def is_used(self) -> bool:
        """Whether it has a session that has not ended, or a request under way."""
        if self._held or self._listeners:
            return True
        return self._session is not None and not self._session.is_ending

    @contextmanager
    def held(self) -> Iterator[None]:
        """In this block something is under way: a request, until it is answered."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if not self._held:
                self._quiet.set()
                self._quiet = anyio.Event()

    @contextmanager
    def called(self) -> Iterator[None]:
        """In this block one of the calls is under way that a client may have. TooManyCallsError."""
        most = self._config.max_calls
        if self._calls >= most:
            raise TooManyCallsError(f"{most} calls are under way", retry_after=RETRY_AFTER)
        self._calls += 1
        try:
            with self.held():
                yield
        finally:
            self._calls -= 1

    async def session(
        self, broker: Broker, principal: Principal, headers: Mapping[str, str]
    ) -> Session:
        """Its session, opened if need be. SessionEndedError when the seat is closed.

        When the principal is no longer what it was, with other roles or attributes, the old
        session completes and a new one takes its place.
        """
        session = self._session
        if session is None or not _serves(session, principal):
            async with self._opening:
                session = self._session
                if session is None or not _serves(session, principal):
                    session = self._session = await self._open(broker, principal, session)
        if headers:
            session.see_caller(headers)
        return session

    async def _open(self, broker: Broker, principal: Principal, old: Session | None) -> Session:
        self._require_open()
        if old is not None:
            await old.complete()
        config, idle = self._config, broker.limits.idle_timeout
        session = await broker.create_session(
            principal=principal,
            metadata={"transport": "mcp"},
            allowed_tools=config.allowed_tools,
            runtime=None if config.mode == "tools" else config.runtime,
            idle_timeout=config.idle_timeout if idle is None else min(idle, config.idle_timeout),
        )
        try:
            self._require_open()
        except SessionEndedError:
            await session.complete()
            raise
        return session

    def _require_open(self) -> None:
        if self._closed:
            raise SessionEndedError("the MCP session has ended")

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Tell the client of changes on a stream of its own, for as long as it likes."""
        self._listeners += 1
        try:
            return await self._listening(context, params)
        finally:
            self._listeners -= 1

    async def look_again(self, broker: Broker) -> None:
        """Tell the client if the tools are no longer those that it was shown last.

        Where that is not known, who listens is told, and nobody else.
        """
        shown, session = self.listed, self._session
        if shown is None and not self._listeners:
            return
        if shown is not None and session is not None and not session.is_ending:
            now = await broker.visible_tools(session=session)
            if len(now) == len(shown) and all(now.get(name) is shown[name] for name in shown):
                return
            self.listed = now
        with anyio.move_on_after(TELLING_TIME):
            if self.connection is not None:
                await self.connection.send_tool_list_changed()
            await self._bus.publish(ToolsListChanged())

    async def when_quiet(self) -> None:
        """Return when no request is under way, and no stream of notifications either."""
        self._listening.close()
        while self._held:
            await self._quiet.wait()

    async def close(self) -> None:
        """End the session; nothing opens another one."""
        self._closed = True
        self._listening.close()
        async with self._opening:
            if self._session is not None:
                await self._session.complete()


class Visit(NamedTuple):
    """One request: whose it is, where it goes, and on which seat."""

    broker: Broker
    principal: Principal
    seat: Seat
    headers: Mapping[str, str]

    async def session(self) -> Session:
        return await self.seat.session(self.broker, self.principal, self.headers)


def _serves(session: Session, principal: Principal) -> bool:
    if session.is_ending:
        return False
    return session.principal is principal or session.principal == principal
