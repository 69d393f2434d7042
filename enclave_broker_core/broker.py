"""Broker: the façade, the only object that programs and transports need to know."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from anyio.abc import TaskGroup

from .calls import RunOutcome
from .composition import Composition, Parts, open_parts
from .contracts import SessionStore
from .declaration import ToolOptions, declare
from .errors import ConfigError
from .guard import Guarded
from .limits import RateLimiter
from .mailbox import ToolCallMessage
from .models import Principal, SessionLimits, SessionRecord, ToolSpec
from .redaction import Redactor
from .registry import Catalog, Registry
from .routing import Route, ToolRouter
from .session import Session
from .sessions import SessionManager, SessionSettings
from .surroundings import Surroundings
from .threads import Threads

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

PROGRAM = "the program"


@dataclass(frozen=True, slots=True)
class BrokerStats:
    """What there is now, and counts since the broker opened."""

    open_sessions: int
    tools: int
    calls: int
    failed_calls: int
    abandoned_threads: int
    abandoned_handlers: int
    dropped_observations: int


class Broker:
    """Stands between agents and tools: ``async with Broker(...) as broker``.

    ``tools`` is name or pattern → handler, or a ToolRouter; ``middleware`` wraps every
    call, the first outermost; ``access`` is an AccessController, another policy, or a
    list of which all must allow; ``limiter`` a RateLimiter; ``runtime`` runs code, one or
    name → runtime, the first the default; ``limits`` are those of a session that asks for
    no others; ``sessions`` says how many there may be and who may see all of them. The
    store is the memory plugin's unless given. A part may be given as the name of an
    installed component, as ``use(name, ...)``, or as an async context manager: the broker
    then opens and closes it.
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
        self._parts = Parts(
            access=_listed(access),
            rates=limiter or RateLimiter(),
            middleware=middleware,
            providers=providers or {},
            runtimes=_named(runtime),
            audits=_listed(audit),
            sinks=sinks,
            secrets=secrets,
        )
        self._redactor = Redactor()
        self._guarded = Guarded()
        self._threads = Threads()
        self._registry = Registry()
        self._sessions = SessionManager(
            store=store, limits=limits, settings=sessions, surround=self._surround
        )
        self._composition: Composition | None = None
        self._stack = AsyncExitStack()
        self.tools(tools or {})

    async def __aenter__(self) -> Self:
        if self._composition is not None:
            raise ConfigError("this broker is open already")
        stack = self._stack = AsyncExitStack()
        try:
            await self._open(stack)
        except BaseException:
            # As in __aexit__: no task group is to wrap what went wrong.
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The error of the block is the caller's: no task group is to wrap it into a group.
        await self.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        opened = await open_parts(self._parts, stack, self._redactor, self._guarded)
        self._composition = opened
        await stack.enter_async_context(self._sessions)
        for name, provider in opened.providers.items():
            self._registry.publish(name, await provider.tools())
        self._sessions.surroundings.catalog = self._registry.current
        self._registry.on_change(self._announce)
        tasks = self._sessions.surroundings.tasks
        for name, provider in opened.providers.items():
            tasks.start_soon(provider.watch, self._publisher(name))

    async def aclose(self) -> None:
        """End all sessions and close all parts; the same as leaving ``async with``."""
        try:
            await self._stack.aclose()
        finally:
            self._registry.on_change(None)
            for name in self._parts.providers:
                self._registry.withdraw(name)
            self._composition = None

    # The catalog

    def tool(self, name: str, **options: Unpack[ToolOptions]) -> Callable[[HandlerT], HandlerT]:
        """Make the decorated function a tool; of a pattern, its handler ``(name, args)``.

        ConfigError when the name is taken, or no schema can be made from its hints.
        """

        def add(handler: HandlerT) -> HandlerT:
            self._add(name, handler, options)
            return handler

        return add

    def tools(self, handlers: Mapping[str, Callable[..., Any]] | ToolRouter) -> None:
        """Add many: name or pattern → handler, or all that a router has."""
        if isinstance(handlers, ToolRouter):
            for route in handlers.routes:
                self._registry.add_route(route)
            return
        for name, handler in handlers.items():
            self._add(name, handler, {})

    def _add(self, name: str, handler: Callable[..., Any], options: ToolOptions) -> None:
        declared = declare(name, handler, self._threads, options)
        if isinstance(declared, Route):
            self._registry.add_route(declared)
        else:
            self._registry.add(PROGRAM, declared)

    def has_tool(self, name: str) -> bool:
        """Whether a call of this name would reach a tool."""
        catalog = self._registry.current
        return catalog.find(catalog.canonical(name)) is not None

    def list_tools(self) -> list[ToolSpec]:
        """All tools that have a name of their own, in the order in which they came."""
        return self._registry.current.specs()

    def remove_tool(self, name: str) -> bool:
        """Take a tool or a pattern of the program's own away; False when there is none."""
        return self._registry.remove(PROGRAM, name)

    # Sessions

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

    async def get_session(self, session_id: str, *, principal: Principal | None = None) -> Session:
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
        return await session.take(call)

    async def execute(self, code: str, **options: Any) -> RunOutcome:
        """Run code in a session of its own, which its result or its error ends."""
        session = await self._sessions.create(**options)
        try:
            return await session.execute(code)
        except BaseException as error:
            await session.abort(error)
            raise

    def conceal(self, value: str) -> None:
        """Blot a secret out of results, events, histories, logs and messages from now on."""
        self._redactor.add(value)

    def stats(self) -> BrokerStats:
        """Counts for operators."""
        opened = self._composition
        return BrokerStats(
            open_sessions=self._sessions.open_count,
            tools=len(self._registry.current.tools),
            calls=opened.record.calls if opened else 0,
            failed_calls=opened.record.failed if opened else 0,
            abandoned_threads=self._threads.abandoned,
            abandoned_handlers=self._guarded.let_go_count,
            dropped_observations=opened.sinks.dropped if opened else 0,
        )

    # How it is put together

    def _surround(self, store: SessionStore, tasks: TaskGroup) -> Surroundings:
        opened = self._composition
        if opened is None:
            raise ConfigError("this broker is not open; use it in 'async with'")
        return Surroundings(
            store=store,
            tasks=tasks,
            chain=opened.chain,
            catalog=self._registry.current,
            visible=opened.access.visible,
            redactor=self._redactor,
            runtimes=opened.runtimes,
            default_runtime=next(iter(opened.runtimes), None),
            observe=opened.sinks.observe if opened.sinks.active else None,
        )

    def _publisher(self, source: str) -> Callable[[Sequence[Any]], Any]:
        async def publish(tools: Sequence[Any]) -> None:
            self._registry.publish(source, tools)

        return publish

    def _announce(self, old: Catalog, new: Catalog) -> None:
        around = self._sessions.surroundings
        around.catalog = new
        around.tasks.start_soon(self._sessions.announce, old, new)


def _listed(given: Any) -> Sequence[Any]:
    if given is None:
        return ()
    return given if isinstance(given, list | tuple) else (given,)


def _named(runtime: Any) -> Mapping[str, Any]:
    if runtime is None:
        return {}
    if isinstance(runtime, Mapping):
        return runtime
    name = runtime if isinstance(runtime, str) else getattr(runtime, "name", "default")
    return {str(name): runtime}
