"""ToolRouter: handlers of names and patterns, and the choice of the most specific."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import anyio
from pydantic import JsonValue, ValidationError

from .contracts import Tool, ToolContext
from .errors import (
    AccessDeniedError,
    ArgumentsError,
    ConfigError,
    RateLimitedError,
    ToolTimeoutError,
    UnknownToolError,
)
from .json_form import parse
from .models import Principal, Rate, ToolSpec, Window
from .pattern_index import PatternIndex
from .patterns import Pattern
from .threads import Threads
from .windows import SlidingWindows

RouteHandler = Callable[[str, dict[str, Any]], Any]


class RouteTool:
    """A handler ``(name, args)`` of all names that match a pattern, in the form of a tool."""

    def __init__(self, spec: ToolSpec, handler: RouteHandler, threads: Threads) -> None:
        self.spec = spec
        self._handler = handler
        self._threads = threads
        self._is_async = inspect.iscoroutinefunction(handler)

    def validate(self, arguments_json: bytes) -> dict[str, Any]:
        arguments = parse(arguments_json)
        if not isinstance(arguments, dict):
            raise ArgumentsError(f"the arguments of {self.spec.name} must be an object, by name")
        return arguments

    def dump(self, arguments: Any) -> Mapping[str, JsonValue]:
        dumped: Mapping[str, JsonValue] = deepcopy(arguments)
        return dumped

    def invoke(self, arguments: Any, context: ToolContext) -> Awaitable[Any]:
        return self.call(context.tool, arguments)

    def call(self, name: str, arguments: dict[str, Any]) -> Awaitable[Any]:
        if self._is_async:
            answer: Awaitable[Any] = self._handler(name, arguments)
            return answer
        return self._threads.run(lambda: self._handler(name, arguments), {})


@dataclass(frozen=True)
class Route:
    """A pattern and the tool that takes the calls of all names that it matches."""

    pattern: Pattern
    tool: Tool


class RouteTable:
    """Immutable: the routes with the most specific first.

    An exact name is, then the pattern with more literal characters, of equals the one
    that came first. The identical pattern twice is a ConfigError.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        seen: set[str] = set()
        for route in routes:
            if route.pattern.text in seen:
                raise ConfigError(f"{route.pattern.text!r} has a handler already")
            seen.add(route.pattern.text)
        self.routes = tuple(routes)
        self._ranked = sorted(
            routes, key=lambda route: (not route.pattern.exact, -route.pattern.literals)
        )
        self._index = PatternIndex([route.pattern for route in self._ranked])

    def match(self, name: str) -> Route | None:
        if not self._ranked:
            return None
        position = self._index.first(name)
        return self._ranked[position] if position >= 0 else None

    def find(self, name: str) -> Tool | None:
        route = self.match(name)
        return route.tool if route else None


class ToolRouter:
    """Sends calls to the handlers of patterns; works on its own and inside a broker.

    A handler is ``handler(name, args)``, async or plain. Alone, the router itself keeps
    each route's ``rate_limit``, ``requires_auth`` and ``timeout``; inside a broker the
    broker does.
    """

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._handlers: dict[str, RouteTool] = {}
        self._made: RouteTable | None = None
        self._threads = Threads()
        self._windows = SlidingWindows()

    def register(
        self,
        pattern: str,
        handler: RouteHandler,
        *,
        rate_limit: Rate | Mapping[str, Any] | None = None,
        requires_auth: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Let ``handler`` take the calls that match ``pattern``, a name or a glob.

        ``rate_limit`` is a Rate or ``{"max_calls": …, "window": seconds}``. ConfigError when
        the pattern has a handler, or for what is wrong.
        """
        if not callable(handler):
            raise ConfigError(f"the handler of {pattern!r} is {handler!r}, which can't be called")
        if pattern in self._routes:
            raise ConfigError(f"{pattern!r} has a handler already")
        matching = Pattern(pattern)
        try:
            spec = ToolSpec.model_validate(
                {
                    "name": pattern,
                    "input_schema": {"type": "object"},
                    "rate_limit": rate_limit,
                    "requires_auth": requires_auth,
                    "timeout": timeout,
                }
            )
        except ValidationError as problem:
            said = "; ".join(
                f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
                for item in problem.errors(include_url=False, include_input=False)
            )
            raise ConfigError(f"{pattern!r}: {said}") from None
        tool = self._handlers[pattern] = RouteTool(spec, handler, self._threads)
        self._routes[pattern] = Route(matching, tool)
        self._made = None

    @property
    def routes(self) -> tuple[Route, ...]:
        """All routes, in the order in which they came."""
        return tuple(self._routes.values())

    @property
    def _table(self) -> RouteTable:
        if self._made is None:
            self._made = RouteTable(self.routes)
        return self._made

    def match(self, name: str) -> str | None:
        """The pattern that a call of this name goes to, or None."""
        route = self._table.match(name)
        return route.pattern.text if route else None

    async def execute(
        self,
        name: str,
        args: Mapping[str, Any] | None = None,
        *,
        principal: Principal | None = None,
    ) -> Any:
        """Call the most specific handler; its result as it is.

        Raises UnknownToolError, AccessDeniedError, RateLimitedError and ToolTimeoutError.
        """
        route = self._table.match(name)
        if route is None:
            raise UnknownToolError(f"no handler matches {name!r}")
        spec = route.tool.spec
        if spec.requires_auth and principal is not None and not principal.authenticated:
            raise AccessDeniedError(f"{name} needs an authenticated caller")
        if spec.rate_limit is not None:
            self._count(route, spec.rate_limit)
        handler = self._handlers[route.pattern.text]
        with anyio.move_on_after(spec.timeout):
            return await handler.call(name, dict(args or {}))
        raise ToolTimeoutError(f"{name} did not answer within {spec.timeout:g} s")

    def _count(self, route: Route, rate: Rate) -> None:
        text = route.pattern.text
        window = Window(f"tool:{text}", f"tool {text}", rate.max_calls, rate.window)
        admission = self._windows.acquire([window])
        if not admission.allowed:
            raise RateLimitedError(
                f"{text} may be called {rate.max_calls} times in {rate.window:g} s",
                scope=window.scope,
                limit=rate.max_calls,
                retry_after=admission.retry_after,
            )
