"""The client without an event loop."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from enclave_broker_core.calls import RunOutcome
from enclave_broker_core.errors import BrokerError, SessionNotFoundError

from .asking import new_session_id, require_session_id
from .connection import Connection
from .driving import SyncDriver
from .models import SessionInfo, ToolInfo
from .options import Filter, SessionOptions
from .settings import ClientSettings
from .steps import Steps
from .streams import SyncEventStream
from .sync_local_calls import SyncLocalCalls
from .sync_session import SyncClientSession
from .toolbox import ClientTools, Toolbox

T = TypeVar("T")

_log = logging.getLogger(__name__)

LEAVING = "the client has left the session"


class SyncClient:
    """Uses an Enclave Broker server, as ``Client`` does; its methods block the calling thread.

    It may be used from several threads at once.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        settings: ClientSettings | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self._connection = Connection(base_url, token, headers, settings)
        self._asking = self._connection.asking
        self._given = http
        self._http: httpx.Client | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._http = self._given
        if self._http is None:
            made = httpx.Client(**self._connection.wire.http_options())
            self._http = self._stack.enter_context(made)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http = None
        self._stack.close()

    # Code

    def run(
        self,
        code: str,
        *,
        session_id: str | None = None,
        filter: Filter | None = None,
        **options: Unpack[SessionOptions],
    ) -> RunOutcome:
        """As ``Client.run``."""
        events = self.stream(code, session_id=session_id, filter=filter, **options)
        try:
            with events:
                return events.finish()
        except KeyboardInterrupt:
            self._part(events.session_id)
            raise

    def stream(
        self,
        code: str,
        *,
        session_id: str | None = None,
        filter: Filter | None = None,
        **options: Unpack[SessionOptions],
    ) -> SyncEventStream:
        """As ``Client.stream``."""
        following = self._connection.running(code, session_id, filter, options)
        return SyncEventStream(self._driver(), following)

    # Sessions

    @contextmanager
    def session(
        self,
        *,
        session_id: str | None = None,
        client_tools: ClientTools | None = None,
        **options: Unpack[SessionOptions],
    ) -> Iterator[SyncClientSession]:
        """As ``Client.session``. With client tools threads follow the session and run them.

        They are joined at the end of the block, so a handler must come to an end of its own.
        """
        toolbox = Toolbox(client_tools or {}, threads=False)
        session_id = new_session_id() if session_id is None else require_session_id(session_id)
        self._ask(self._asking.create(session_id, options, toolbox.declared))
        with ExitStack() as stack:
            if toolbox:
                following = self._connection.following(session_id, 1, None)
                most = self._connection.settings.max_handlers
                calls = SyncLocalCalls(following, toolbox, self._asking, self._driver, most)
                stack.enter_context(calls)
            stack.callback(self._part, session_id)
            yield self.existing(session_id)

    def _part(self, session_id: str) -> None:
        try:
            self._ask(self._asking.cancel(session_id, LEAVING))
        except SessionNotFoundError:
            pass
        except BrokerError as problem:
            _log.warning("session %s was left and not cancelled: %s", session_id, problem)

    def existing(self, session_id: str) -> SyncClientSession:
        """As ``Client.existing``."""
        return SyncClientSession(require_session_id(session_id), self._connection, self._driver)

    def sessions(self, *, ended: bool = False) -> Sequence[SessionInfo]:
        """As ``Client.sessions``."""
        return self._ask(self._asking.sessions(ended=ended))

    # The catalog and the server

    def tools(self) -> Sequence[ToolInfo]:
        """As ``Client.tools``."""
        return self._ask(self._asking.tools())

    def tool(self, name: str) -> ToolInfo:
        """As ``Client.tool``."""
        return self._ask(self._asking.tool(name))

    def health(self) -> bool:
        """As ``Client.health``."""
        return self._ask(self._asking.works("/health"))

    def ready(self) -> bool:
        """As ``Client.ready``."""
        return self._ask(self._asking.works("/ready"))

    def _driver(self) -> SyncDriver:
        if self._http is None:
            raise RuntimeError("the client is not open: use it in 'with'")
        return SyncDriver(self._http, self._connection.wire)

    def _ask(self, steps: Steps[T]) -> T:
        return self._driver().ask(steps)

    def __repr__(self) -> str:
        return f"SyncClient({self._connection!r})"
