"""The client on an event loop, asyncio's or trio's."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar, Unpack

import anyio
import httpx

from enclave_broker_core.calls import RunOutcome
from enclave_broker_core.errors import BrokerError, SessionNotFoundError

from .asking import new_session_id, require_session_id
from .connection import Connection
from .driving import Driver
from .local_calls import LocalCalls
from .models import SessionInfo, ToolInfo
from .options import Filter, SessionOptions
from .session import ClientSession
from .settings import ClientSettings
from .steps import Steps
from .streams import EventStream
from .toolbox import ClientTools, Toolbox

T = TypeVar("T")

_log = logging.getLogger(__name__)

LEAVING = "the client has left the session"
# How long, in seconds, it may take to cancel a session that nobody waits for any more.
PARTING = 5.0


class Client:
    """Uses an Enclave Broker server: ``async with Client("https://…", token=…) as client``.

    ``token`` is an API key or a JWT, sent as a bearer token; it is in no repr and no error.
    ``headers`` go with every request. ``http`` is a client of httpx to use instead of one of
    its own, and is not closed. ConfigError for an address or a token that can't be.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        settings: ClientSettings | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._connection = Connection(base_url, token, headers, settings)
        self._asking = self._connection.asking
        self._given = http
        self._http: httpx.AsyncClient | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._http = self._given
        if self._http is None:
            made = httpx.AsyncClient(**self._connection.wire.http_options())
            self._http = await self._stack.enter_async_context(made)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http = None
        await self._stack.aclose()

    # Code

    async def run(
        self,
        code: str,
        *,
        session_id: str | None = None,
        filter: Filter | None = None,
        **options: Unpack[SessionOptions],
    ) -> RunOutcome:
        """Run code in a session of its own; how it ended.

        What the code did wrong is in the outcome, and not raised; what the server refuses the
        session for is. When the caller is cancelled, so is the session.
        """
        events = self.stream(code, session_id=session_id, filter=filter, **options)
        try:
            async with events:
                return await events.finish()
        except anyio.get_cancelled_exc_class():
            await self._part(events.session_id)
            raise

    def stream(
        self,
        code: str,
        *,
        session_id: str | None = None,
        filter: Filter | None = None,
        **options: Unpack[SessionOptions],
    ) -> EventStream:
        """Run code in a session of its own, and stream its events.

        The session's id is chosen here unless it is given, so that a request whose answer is
        lost can be repeated. Entered, it raises what the server refuses the session for.
        """
        following = self._connection.running(code, session_id, filter, options)
        return EventStream(self._driver(), following)

    # Sessions

    @asynccontextmanager
    async def session(
        self,
        *,
        session_id: str | None = None,
        client_tools: ClientTools | None = None,
        **options: Unpack[SessionOptions],
    ) -> AsyncIterator[ClientSession]:
        """A session for calls and runs; it is cancelled at the end of the block.

        ``client_tools`` are functions of this program under names that begin with
        ``client:``. The session can call them like any tool: they are run here, with what is
        raised as the error of the call. When the session can't be followed any more the block
        is cancelled, and what went wrong raised.
        """
        toolbox = Toolbox(client_tools or {}, threads=True)
        session_id = new_session_id() if session_id is None else require_session_id(session_id)
        await self._ask(self._asking.create(session_id, options, toolbox.declared))
        try:
            session = self.existing(session_id)
            if not toolbox:
                yield session
                return
            async with self._answering(session_id, toolbox):
                yield session
        finally:
            await self._part(session_id)

    @asynccontextmanager
    async def _answering(self, session_id: str, toolbox: Toolbox) -> AsyncIterator[None]:
        following = self._connection.following(session_id, 1, None)
        most = self._connection.settings.max_handlers
        calls = LocalCalls(following, toolbox, self._asking, self._driver, most)
        problem: Exception | None = None
        async with anyio.create_task_group() as tasks:

            async def serve() -> None:
                nonlocal problem
                try:
                    await calls.serve(tasks)
                except BrokerError as error:
                    problem = error
                    tasks.cancel_scope.cancel()

            tasks.start_soon(serve)
            try:
                yield
            except Exception as error:
                # Raised here it would come out of the group as a group.
                problem = problem or error
            tasks.cancel_scope.cancel()
        if problem is not None:
            raise problem

    async def _part(self, session_id: str) -> None:
        """Cancel a session, whatever keeps the caller from waiting for it."""
        with anyio.move_on_after(PARTING, shield=True):
            try:
                await self._ask(self._asking.cancel(session_id, LEAVING))
            except SessionNotFoundError:
                pass
            except BrokerError as problem:
                _log.warning("session %s was left and not cancelled: %s", session_id, problem)

    def existing(self, session_id: str) -> ClientSession:
        """A session that there is already. Whether there is one the first request tells."""
        return ClientSession(require_session_id(session_id), self._connection, self._driver)

    async def sessions(self, *, ended: bool = False) -> Sequence[SessionInfo]:
        """The sessions that this caller may see; those that have ended too if wanted."""
        return await self._ask(self._asking.sessions(ended=ended))

    # The catalog and the server

    async def tools(self) -> Sequence[ToolInfo]:
        """The tools that this caller may use."""
        return await self._ask(self._asking.tools())

    async def tool(self, name: str) -> ToolInfo:
        """One of them. UnknownToolError."""
        return await self._ask(self._asking.tool(name))

    async def health(self) -> bool:
        """Whether the server is alive. ConnectionLostError when it does not answer."""
        return await self._ask(self._asking.works("/health"))

    async def ready(self) -> bool:
        """Whether the server takes work now."""
        return await self._ask(self._asking.works("/ready"))

    def _driver(self) -> Driver:
        if self._http is None:
            raise RuntimeError("the client is not open: use it in 'async with'")
        return Driver(self._http, self._connection.wire)

    async def _ask(self, steps: Steps[T]) -> T:
        return await self._driver().ask(steps)

    def __repr__(self) -> str:
        return f"Client({self._connection!r})"
