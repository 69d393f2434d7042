"""Broker: the façade, the only object that programs and transports need to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup, TaskStatus

from .broker_tools import PROGRAM, BrokerTools
from .calls import RunOutcome
from .composition import Composition, Parts
from .errors import ConfigError
from .generation import Generation, MakeParts, hold
from .guard import Guarded
from .limits import RateLimiter
from .mailbox import ToolCallMessage, tool_call_message
from .model_calls import answered, model_call
from .models import Principal, SessionLimits, SessionRecord, SessionSettings
from .once import Once
from .parts import listed, named_runtimes
from .redaction import Redactor
from .registry import Catalog
from .routing import ToolRouter
from .session import Session
from .session_handle import SessionHandle
from .session_store import SessionStore
from .sessions import SessionManager
from .stats import BrokerStats, Counting
from .surroundings import Surroundings, surroundings
from .traced import Traced


class Broker(BrokerTools):
    """Stands between agents and tools: ``async with Broker(...) as broker``.

    ``tools`` is name or pattern → handler, or a ToolRouter; ``middleware`` wraps every call,
    the first outermost; ``access`` is an AccessController, another policy, or a list of which
    all must allow; ``runtime`` runs code, one or name → runtime, the first the default;
    ``limits`` are those of a session that asks for no others; ``sessions`` says how many there
    may be and who may see all. The store is the memory plugin's unless given. A part may be
    the name of an installed component, ``use(name, ...)`` or an async context manager to open.
    """

    def __init__(
        self,
        *,
        tools: Mapping[str, Callable[..., Any]] | ToolRouter | None = None,
        providers: Mapping[str, Any] | None = None,
        middleware: Sequence[Any] = (),
        access: Any = None,
        limiter: RateLimiter | None = None,
        store: Any = None,
        runtime: Any = None,
        limits: SessionLimits | None = None,
        sessions: SessionSettings | None = None,
        secrets: Sequence[Any] | None = None,
        audit: Any = None,
        sinks: Sequence[Any] = (),
    ) -> None:
        super().__init__()
        self._parts = Parts(
            access=listed(access),
            rates=limiter or RateLimiter(),
            middleware=middleware,
            providers=providers or {},
            runtimes=named_runtimes(runtime),
            audits=listed(audit),
            sinks=sinks,
            secrets=secrets,
            limits=limits or SessionLimits(),
        )
        self._redactor = Redactor()
        self._guarded = Guarded()
        self._sessions = SessionManager(
            store=store, limits=limits, settings=sessions, surround=self._surround
        )
        self._generation: Generation | None = None
        self._changed = Once()
        self._tasks: TaskGroup
        self._store: SessionStore
        self._stack = AsyncExitStack()
        self.tools(tools or {})

    async def __aenter__(self) -> Self:
        if self._generation is not None:
            raise ConfigError("this broker is open already")
        stack = self._stack = AsyncExitStack()
        try:
            await self._open(stack)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        # What went wrong is the caller's: no task group is to wrap it into a group.
        await self.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        self._tasks = await stack.enter_async_context(anyio.create_task_group())
        self._store = await self._sessions.open_store(stack)
        self._generation = await self._tasks.start(self._hold, self._as_given)
        stack.callback(self._let_go)
        self._registry.replace(self._generation.tools, keep=PROGRAM)
        await stack.enter_async_context(self._sessions)
        self._registry.on_change(self._announce)
        self._use(self._generation)

    async def reload(self, make: MakeParts) -> None:
        """Swap in other parts, in one step, when all of them have opened.

        Calls under way finish on the parts that they began with, and so does code that has
        its state in a runtime. When anything fails, all stays as it was and the error is
        raised. The store and the sessions stay; new limits are for sessions to come.
        """
        if self._generation is None:
            raise ConfigError("this broker is not open; use it in 'async with'")
        coming: Generation = await self._tasks.start(self._hold, make)
        try:
            self._registry.replace(coming.tools, keep=PROGRAM)
        except BaseException:
            coming.retire(())
            raise
        # From here to the end nothing waits.
        going, self._generation = self._generation, coming
        coming.opened.record.go_on_from(going.opened.record)
        around = self._sessions.surroundings
        self._sessions.set_limits(coming.parts.limits)
        going.retire(self._sessions.under_way())
        around.take(coming.opened)
        self._use(coming)

    def _use(self, generation: Generation) -> None:
        generation.adopt()
        tracer = generation.opened.tracer
        if tracer is not None:
            tracer.attach(self.stats)
            for record in self._sessions.records():
                tracer.session_began(record)

    @property
    def parts(self) -> Parts:
        """What it was made of, as it was given."""
        return self._parts

    async def aclose(self) -> None:
        """End all sessions and close all parts; the same as leaving ``async with``."""
        try:
            await self._stack.aclose()
        finally:
            self._registry.on_change(None)
            self._registry.replace({}, keep=PROGRAM)
            self._generation = None

    async def _hold(self, make: MakeParts, *, task_status: TaskStatus[Generation]) -> None:
        publish, store = self._registry.publish, self._store
        await hold(make, self._redactor, self._guarded, publish, store, task_status=task_status)

    async def _as_given(self, stack: AsyncExitStack) -> Parts:
        return self._parts

    def _let_go(self) -> None:
        if self._generation is not None:
            self._generation.retire(())

    # Sessions

    @property
    def limits(self) -> SessionLimits:
        """Those of a session that asks for no others."""
        return self._sessions.limits

    async def create_session(self, **options: Any) -> Session:
        """A new session; the options are those of ``SessionManager.create``."""
        return await self._sessions.create(**options)

    @asynccontextmanager
    async def session(self, **options: Any) -> AsyncIterator[Session]:
        """A session for a block: leaving it completes it, an exception cancels it."""
        session = await self._sessions.create(**options)
        try:
            yield session
        except BaseException as error:
            await session.abort(error)
            raise
        await session.complete()

    async def get_session(
        self, session_id: str, *, principal: Principal | None = None
    ) -> SessionHandle:
        """The session; SessionNotFoundError when it is unknown or somebody else's."""
        return await self._sessions.get(session_id, principal=principal)

    async def list_sessions(self, **options: Any) -> Sequence[SessionRecord]:
        """The sessions that have not ended; the options are those of ``SessionManager.list``."""
        return await self._sessions.list(**options)

    async def destroy_session(self, session_id: str, *, principal: Principal | None = None) -> bool:
        """Cancel a session and forget all of it; False when there is none."""
        return await self._sessions.destroy(session_id, principal=principal)

    async def execute_tool_call(
        self,
        session_id: str,
        call: ToolCallMessage | Mapping[str, Any],
        *,
        principal: Principal | None = None,
    ) -> Any:
        """One call in a session: ``{id?, name, args?}``; its result, or its error raised."""
        session = await self._sessions.get(session_id, principal=principal)
        made = tool_call_message(call)
        return await session.call(made.name, made.args, call_id=made.id)

    async def execute_model_call(
        self,
        session_id: str,
        call: Any,
        *,
        format: str | None = None,
        principal: Principal | None = None,
    ) -> dict[str, Any]:
        """Make a model API's tool call, as it came; the message that takes its result back.

        What is wrong with the call or fails in it becomes an error message to the model.
        ArgumentsError for what is no such call, SessionError when the session is over.
        """
        given = model_call(call, format)
        session = await self._sessions.get(session_id, principal=principal)
        return await answered(given, session.call, session.limits.max_argument_bytes)

    async def execute(self, code: str, **options: Any) -> RunOutcome:
        """Run code in a session of its own, which its result or its error ends."""
        async with self.session(**options) as session:
            return await session.execute(code)

    @property
    def is_shared(self) -> bool:
        """Whether brokers in other processes may have the same sessions: the store says so."""
        return getattr(self._store, "shared", False) is True

    async def end_sessions(self, reason: str) -> None:
        """Cancel all sessions of this process that have not ended; their final event says why."""
        await self._sessions.end_all(reason)

    async def catalog_change(self, since: int) -> int:
        """Wait for a catalog of another version than ``since``; its version."""
        while self.catalog_version == since:
            await self._changed.wait()
        return self.catalog_version

    def conceal(self, value: str, name: str = "") -> None:
        """Blot a secret out of results, events, histories, logs and messages from now on."""
        self._redactor.add(value, name)

    async def check(self) -> None:
        """Raise an error that says why when the store or the limiter can't be reached."""
        await self._store.check()
        await self._opened.limits.limiter.check()

    @property
    def tracer(self) -> Traced | None:
        """What follows its requests, for those who serve it; None when nothing does."""
        return None if self._generation is None else self._generation.opened.tracer

    @property
    def languages(self) -> Mapping[str, str]:
        """Runtime → the language that its code is in; the default one first."""
        return {name: runtime.language for name, runtime in self._opened.runtimes.items()}

    def stats(self) -> BrokerStats:
        """Counts for operators."""
        opened = None if self._generation is None else self._generation.opened
        runtimes = opened.runtimes if opened else {}
        return BrokerStats(
            open_sessions=self._sessions.open_count,
            tools=len(self._registry.current.tools),
            calls=opened.record.calls if opened else 0,
            failed_calls=opened.record.failed if opened else 0,
            abandoned_threads=self._threads.abandoned,
            abandoned_handlers=self._guarded.let_go_count,
            dropped_observations=opened.sinks.dropped if opened else 0,
            sessions=Counter(self._sessions.states()),
            queues={
                "observations": opened.sinks.backlog if opened else 0,
                "unsettled_ends": self._sessions.unsettled,
            },
            runtimes={
                name: runtime.counts()
                for name, runtime in runtimes.items()
                if isinstance(runtime, Counting)
            },
        )

    def _surround(self, store: SessionStore, tasks: TaskGroup) -> Surroundings:
        return surroundings(store, tasks, self._opened, self._registry.current, self._redactor)

    @property
    def _opened(self) -> Composition:
        if self._generation is None:
            raise ConfigError("this broker is not open; use it in 'async with'")
        return self._generation.opened

    def _announce(self, old: Catalog, new: Catalog) -> None:
        self._sessions.surroundings.catalog = new
        before, self._changed = self._changed, Once()
        before.set()
        self._sessions.announce(old, new)
