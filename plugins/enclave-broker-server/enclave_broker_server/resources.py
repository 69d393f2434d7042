"""One path with its methods, so that what another method is told names all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

Handler = Callable[[Request], Awaitable[ASGIApp]]


def resource(path: str, *, head: bool = True, **handlers: Handler) -> Route:
    """A route whose handlers are given by method: ``resource("/x", GET=show)``.

    HEAD is answered as GET, unless ``head`` is false: what has no end has no length.
    """

    async def handle(request: Request) -> ASGIApp:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    route = Route(path, handle, methods=list(handlers))
    if not head and route.methods is not None:
        route.methods.discard("HEAD")
    return route
