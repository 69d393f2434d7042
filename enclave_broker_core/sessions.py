"""SessionManager: creates, finds, lists, destroys and expires sessions."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup
from pydantic import JsonValue, ValidationError

from .access_stage import Access
from .calls import ToolCall
from .catalog_changes import tell_of_change
from .client_tools import ClientTools
from .durable_sessions import durability, require_durable
from .errors import (
    BrokerError,
    ConfigError,
    SessionCancelledError,
    SessionNotFoundError,
    StoreError,
    UnknownToolError,
)
from .expiry import Expiry
from .holding import Holding
from .models import ClientTool, Principal, SessionLimits, SessionRecord, SessionSettings
from .new_sessions import new_record
from .observations import SessionStarted
from .once import Once
from .parts import as_part
from .redaction import Redactor
from .registry import Catalog
from .session import Session
from .session_handle import SessionHandle
from .session_store import SessionStore
from .store_abilities import LeasedStore
from .surroundings import Surroundings

_log = logging.getLogger(__name__)

CLOSING_TIME = 10.0

Surround = Callable[[SessionStore, TaskGroup], Surroundings]


class SessionManager:
    """All sessions of one process; an async context manager that owns what they do.

    ``max_concurrent_sessions`` bounds those that have not ended; one more raises
    TooManySessionsError, which says when to try again. ``session_timeout`` is the life of
    a session that asks for no other, ``cleanup_interval`` how often the store is asked to
    forget ended ones; both in seconds. ``store`` is the memory plugin's unless given.
    Alone, its sessions have no tools; inside a broker they have the broker's.
    """

    def __init__(
        self,
        max_concurrent_sessions: int | None = 1000,
        session_timeout: float = 3600.0,
        cleanup_interval: float = 10.0,
        *,
        store: Any = None,
        settings: SessionSettings | None = None,
        limits: SessionLimits | None = None,
        surround: Surround | None = None,
    ) -> None:
        if settings is None:
            try:
                settings = SessionSettings(
                    max_concurrent=max_concurrent_sessions, cleanup_interval=cleanup_interval
                )
                limits = limits or SessionLimits(timeout=session_timeout)
            except ValidationError as problem:
                raise ConfigError(str(problem)) from None
        self._settings = settings
        self.limits = limits or SessionLimits()
        self._store = "memory" if store is None else store
        self._opened: SessionStore | None = None
        self._surround = surround or _alone
        self._around: Surroundings | None = None
        self._holding: Holding
        self._open: dict[str, Session] = {}
        self._ending = False
        self._expiry = Expiry(self._open, self._end)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            store = await self.open_store(stack)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            self._around = self._surround(store, tasks)
            self._around.durability = durability(store, self._settings)
            stack.callback(tasks.cancel_scope.cancel)
            stack.push_async_callback(self.end_all, "the broker is closing")
            self._expiry = Expiry(self._open, self._end)
            tasks.start_soon(self._expiry.serve, tasks)
            tasks.start_soon(self._around.unsettled.serve)
            tasks.start_soon(self._sweep)
            self._holding = Holding(self._open, self._around, self._adopt)
            if isinstance(store, LeasedStore):
                tasks.start_soon(store.serve, self._holding)
            self._stack = stack.pop_all()
        return self

    async def open_store(self, stack: AsyncExitStack) -> SessionStore:
        """The store, opened on ``stack`` unless it is open already."""
        if self._opened is None:
            part: SessionStore = await stack.enter_async_context(
                as_part(self._store, "store", "store")
            )
            self._opened = part
            stack.callback(self._closed)
        return self._opened

    def _closed(self) -> None:
        self._opened = None

    async def __aexit__(self, *error: object) -> None:
        # The error of the block is the caller's: no task group is to wrap it into a group.
        try:
            await self._stack.aclose()
        finally:
            self._around = None

    @property
    def surroundings(self) -> Surroundings:
        if self._around is None:
            raise ConfigError("it is not open yet; use it in 'async with'")
        return self._around

    @property
    def open_count(self) -> int:
        """The sessions of this process that have not ended."""
        return len(self._open)

    def records(self) -> Iterator[SessionRecord]:
        """Those sessions, as they are now."""
        return (session.info() for session in self._open.values())

    @property
    def unsettled(self) -> int:
        """The final events that the store could not take yet."""
        return 0 if self._around is None else len(self._around.unsettled)

    def states(self) -> Iterator[str]:
        """The state of each of them."""
        return (session.state.value for session in self._open.values())

    async def create(
        self,
        *,
        user_id: str | None = None,
        principal: Principal | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        allowed_tools: Sequence[str] | None = None,
        limits: SessionLimits | None = None,
        session_id: str | None = None,
        runtime: str | None = None,
        client_tools: Sequence[ClientTool] = (),
        durable: bool = False,
        caller_headers: Mapping[str, str] | None = None,
        **single_limits: Any,
    ) -> Session:
        """A new session, started.

        ``user_id`` is short for a principal of that id; ``client_tools`` are those that the
        client runs itself, and answers by ``Session.answer``. A ``durable`` session goes on
        when this process has gone. ``caller_headers`` are as in ``Session.see_caller``. Any
        field of SessionLimits can be given by its name:
        ``timeout=30, max_tool_calls=100``. Raises ArgumentsError, SessionExistsError,
        TooManySessionsError, RunError for an unknown runtime.
        """
        around = self.surroundings
        record = new_record(
            user_id=user_id,
            principal=principal,
            metadata=metadata,
            allowed_tools=allowed_tools,
            limits=limits or self.limits,
            session_id=session_id,
            runtime=runtime,
            client_tools=client_tools,
            durable=durable,
            single_limits=single_limits,
        )
        if durable:
            require_durable(around, runtime)
        elif runtime is not None:
            around.runtime(runtime)  # an unknown one is told before there is a session
        own = ClientTools(client_tools) if client_tools else None
        await around.store.create(
            record,
            max_open=self._settings.max_concurrent,
            max_of_principal=self._settings.max_per_principal,
        )
        session = Session(record, around, on_end=self._forget, client_tools=own)
        session.see_caller(caller_headers or {})
        self._open[record.id] = session
        try:
            await session.start()
            self._expiry.add(session)
            around.follow(record)
            if around.observe is not None:
                await around.observe(SessionStarted(record))
        except BaseException as error:
            # Whoever asked for it does not get it, so nobody else would end it.
            await session.abort(error)
            raise
        return session

    async def get(self, session_id: str, *, principal: Principal | None = None) -> SessionHandle:
        """The session, wherever it runs; an ended one as long as the store keeps it.

        SessionNotFoundError when it is unknown or not this principal's: both look the same.
        """
        session: SessionHandle | None = self._open.get(session_id)
        if session is None:
            record = await self.surroundings.store.get(session_id)
            if record is not None:
                session = self._open.get(session_id) or await self._holding.find(record)
        if session is None or not self._may_see(principal, session.principal):
            raise SessionNotFoundError(f"there is no session {session_id[:80]!r}")
        return session

    async def list(
        self,
        *,
        user_id: str | None = None,
        principal: Principal | None = None,
        include_ended: bool = False,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[SessionRecord]:
        """The sessions, oldest first, ``limit`` at a time; those that ``principal`` may see."""
        tenant = None
        if principal is not None and not self._settings.admin_roles & principal.roles:
            user_id, tenant = principal.id, principal.tenant
        ended = include_ended
        records = await self.surroundings.store.list(
            principal_id=user_id, tenant=tenant, include_ended=ended, limit=limit, after=after
        )
        return [
            self._open[record.id].info() if record.id in self._open else record
            for record in records
            if self._may_see(principal, record.principal)
        ]

    async def destroy(self, session_id: str, *, principal: Principal | None = None) -> bool:
        """Cancel the session and forget all of it; False when there is none."""
        try:
            session = await self.get(session_id, principal=principal)
        except SessionNotFoundError:
            return False
        await session.cancel("destroyed")
        return await self.surroundings.store.delete(session_id)

    def set_limits(self, limits: SessionLimits) -> None:
        """The limits of sessions to come that ask for no others."""
        self.limits = limits

    def under_way(self) -> Sequence[Once]:
        """One for each call and each code state that there is, set when it has gone."""
        return [one for session in self._open.values() for one in session.under_way()]

    def announce(self, old: Catalog, new: Catalog) -> None:
        """Tell every session that is open now how the catalog changed, as far as it may use it."""
        if self._open:
            self.surroundings.tasks.start_soon(self._announce, [*self._open.values()], old, new)

    async def _announce(self, told: Sequence[Session], old: Catalog, new: Catalog) -> None:
        for session in told:
            try:
                await tell_of_change(session, self.surroundings.visible, old, new)
            except BrokerError as problem:
                _log.warning("session %s was not told of the change: %s", session.id, problem)

    def _may_see(self, asking: Principal | None, owner: Principal | None) -> bool:
        if asking is None or self._settings.admin_roles & asking.roles:
            return True
        return owner is not None and (owner.id, owner.tenant) == (asking.id, asking.tenant)

    def _adopt(self, record: SessionRecord) -> Session:
        """A session that another process began; it belongs to this one from now on."""
        if self._ending:
            raise StoreError("this broker is closing: another goes on with the session")
        own = ClientTools(record.client_tools) if record.client_tools else None
        session = Session(record, self.surroundings, on_end=self._forget, client_tools=own)
        session.started -= max(0.0, time.time() - record.created_at)
        self._open[record.id] = session
        self._expiry.add(session)
        self.surroundings.follow(record)
        return session

    def _forget(self, session: Session) -> None:
        if self._open.get(session.id) is session:  # it may have been taken up anew
            del self._open[session.id]

    async def _end(self, session: Session, error: BrokerError) -> None:
        """End a session of which nobody waits for the end: what fails is for the log."""
        try:
            await session.end(error)
        except Exception:
            _log.exception("the end of session %s could not be recorded", session.id)

    async def _sweep(self) -> None:
        """Have the store forget what ended long ago."""
        while True:
            await anyio.sleep(self._settings.cleanup_interval)
            try:
                await self.surroundings.store.sweep(time.time())
            except Exception:
                _log.exception("the store could not be swept; it is tried again later")

    async def end_all(self, reason: str) -> None:
        """Cancel all sessions of this process that have not ended; takes at most CLOSING_TIME.

        Those that are durable are let go: another process goes on with them, or the next one.
        """
        self._ending = True
        with anyio.move_on_after(CLOSING_TIME, shield=True):
            async with anyio.create_task_group() as closing:
                for session in list(self._open.values()):
                    if session.is_durable:
                        closing.start_soon(session.let_go, reason, CLOSING_TIME / 2)
                    else:
                        closing.start_soon(self._end, session, SessionCancelledError(reason))
        self._ending = False
        if self._open:
            _log.error("%d sessions did not stop in %g s", len(self._open), CLOSING_TIME)


def _alone(store: SessionStore, tasks: TaskGroup) -> Surroundings:
    """The surroundings of a manager without a broker: no tools, no code."""

    async def no_tools(call: ToolCall) -> Any:
        raise UnknownToolError(f"there is no tool named {call.name!r}: no broker is around")

    return Surroundings(store, tasks, no_tools, Catalog(), Access(()).visible, Redactor(), {})
