"""The tools of a broker: added and removed, listed, exported and explained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from .composition import Composition
from .declaration import ToolOptions, declare
from .explain import CallExplanation, explain
from .export import exported
from .models import Principal, SessionLimits, ToolSpec
from .registry import Catalog, Registry
from .routing import Route, ToolRouter
from .session_handle import SessionHandle
from .threads import Threads
from .viewpoint import viewpoint

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])
PROGRAM = "the program"


class BrokerTools(ABC):
    """The part of ``Broker`` that is about its catalog."""

    def __init__(self) -> None:
        self._threads = Threads()
        self._registry = Registry()

    @property
    @abstractmethod
    def limits(self) -> SessionLimits:
        """Those of a session that asks for no others."""

    @property
    @abstractmethod
    def _opened(self) -> Composition:
        """The parts, when they are open."""

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
            return self._registry.add_route(declared)
        return self._registry.add(PROGRAM, declared)

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

    async def export(
        self,
        format: str,
        *,
        principal: Principal | None = None,
        session: SessionHandle | None = None,
    ) -> list[dict[str, Any]]:
        """The tools that may be used, as "openai", "openai-responses", "anthropic" or "mcp"
        takes them. ArgumentsError for another format."""
        return exported(format, await self.visible_tools(principal=principal, session=session))

    async def visible_tools(
        self, *, principal: Principal | None = None, session: SessionHandle | None = None
    ) -> Mapping[str, ToolSpec]:
        """External name → tool, for all that a principal, or a session, may use now."""
        view = viewpoint(session, principal, None, self.limits)
        return await self._opened.access.visible(view, self._catalog(session))

    async def explain(
        self,
        name: str,
        args: Mapping[str, Any] | None = None,
        *,
        principal: Principal | None = None,
        session: SessionHandle | None = None,
        allowed_tools: Sequence[str] | None = None,
    ) -> CallExplanation:
        """What would become of a call, in a session or a new one. Nothing is run or counted."""
        view = viewpoint(session, principal, allowed_tools, self.limits)
        return await explain(self._opened, self._catalog(session), view, name, args)

    @property
    def catalog_version(self) -> int:
        """A number that grows with every change of the tools."""
        return self._registry.current.version

    def _catalog(self, session: SessionHandle | None) -> Catalog:
        return self._registry.current if session is None else session.catalog
