"""One path with its methods, so that what another method is told names all of them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from .tracing import ROUTE

Handler = Callable[[Request], Awaitable[ASGIApp]]

# A path of which the second part varies: what is before it, its name, what is behind it.
VARYING = re.compile(r"/([a-z-]+)/\{([a-z_]+)\}(?:/([a-z-]+))?")


def resource(path: str, *, head: bool = True, **handlers: Handler) -> Route:
    """A route whose handlers are given by method: ``resource("/x", GET=show)``.

    HEAD is answered as GET, unless ``head`` is false: what has no end has no length.
    """
    if head and "GET" in handlers:
        handlers["HEAD"] = handlers["GET"]
    return Resource(path, handlers)


class Resource(Route):
    """Starlette's route without its handling of errors, which are all for the door."""

    def __init__(self, path: str, handlers: Mapping[str, Handler]) -> None:
        super().__init__(path, self.handle, methods=[])
        self.methods = set(handlers)
        self._handlers = handlers

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = self.path
        handler = self._handlers.get(scope["method"])
        if handler is None:
            await super().handle(scope, receive, send)  # it says what there is
            return
        answer = await handler(Request(scope, receive, send))
        await answer(scope, receive, send)


class Resources(Router):
    """A router that finds most resources at once; Starlette's own asks one after the other."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        super().__init__(routes, redirect_slashes=False)
        self._fixed: dict[str, Resource] = {}
        self._varying: dict[tuple[str, str | None], tuple[Resource, str]] = {}
        for route in routes:
            if not isinstance(route, Resource):
                continue
            varies = VARYING.fullmatch(route.path)
            if varies is not None:
                before, name, behind = varies.groups()
                self._varying[before, behind] = route, name
            elif "{" not in route.path:
                self._fixed[route.path] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._found(scope) if scope["type"] == "http" else None
        if route is None:
            await super().__call__(scope, receive, send)
        else:
            await route.handle(scope, receive, send)

    def _found(self, scope: Scope) -> Resource | None:
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed
        empty, *parts = path.split("/", 3)
        if empty or len(parts) < 2 or not parts[1]:
            return None
        found = self._varying.get((parts[0], parts[2] if len(parts) > 2 else None))
        if found is None:
            return None
        scope["path_params"] = {**scope.get("path_params", {}), found[1]: parts[1]}
        return found[0]
