"""The API's own description: every path with what it takes and what it answers."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from .answers import Answer
from .openapi_answers import responses
from .openapi_paths import paths
from .openapi_schemas import schemas
from .resources import resource
from .service import Service

ABOUT = """\
Sessions in which agents' code and calls reach tools. Wire names are camelCase, durations
integer milliseconds, points in time milliseconds since the epoch or RFC 3339 with `Z`.

A request whose `Host` is not known is answered with 421, one of a foreign `Origin` with 403.
Every answer of the application has an `X-Request-ID`: the request's own, if that is 1 to 64
letters, digits, `_`, `.` and `-`. JSON may be nested so deep and a body be so large as the
server's configuration says; 400 and 413 are the answers to more.
"""


class OpenApiRoutes:
    """``/openapi.json``; ``secured`` says whether callers have to show who they are."""

    def __init__(self, service: Service, version: str, *, secured: bool) -> None:
        self._service = service
        self._version = version
        self._secured = secured

    def routes(self) -> list[Route]:
        return [resource("/openapi.json", GET=self.show)]

    async def show(self, request: Request) -> ASGIApp:
        longest = self._service.broker.limits.max_code_bytes
        described = document(self._version, secured=self._secured, longest_code=longest)
        base = request.scope.get("root_path", "")
        return Answer({**described, "servers": [{"url": base or "/"}]})


def document(version: str, *, secured: bool, longest_code: int) -> dict[str, Any]:
    """The description as an OpenAPI 3.1 document, without its servers.

    ``longest_code`` is in bytes, of which no text has fewer than characters.
    """
    components: dict[str, Any] = {
        "schemas": schemas(longest_code),
        "responses": responses(),
        "securitySchemes": {
            "ticket": {
                "type": "apiKey",
                "in": "query",
                "name": "ticket",
                "description": "For who can't send headers: one of /sessions/{session_id}/ticket.",
            }
        },
    }
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Enclave Broker",
            "version": version,
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths(secured=secured),
        "components": components,
        "tags": [
            {"name": "sessions", "description": "Created, followed, cancelled and deleted."},
            {"name": "calls", "description": "Tool calls in a session."},
            {"name": "catalog", "description": "The tools that the caller may use."},
            {"name": "service", "description": "The server itself."},
        ],
    }
    if secured:
        components["securitySchemes"]["bearer"] = {"type": "http", "scheme": "bearer"}
        described["security"] = [{"bearer": []}]
    return described
