"""The catalog over HTTP, as far as the caller may use it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from enclave_broker_core.models import ToolSpec

from .answers import Answer, HttpError
from .resources import resource
from .service import Service, caller_of


class CatalogRoutes:
    """``/tools`` and, in EnclaveJS's form, ``/code/actions``."""

    def __init__(self, service: Service) -> None:
        self._broker = service.broker

    def routes(self) -> list[Route]:
        return [
            resource("/tools", GET=self.tools),
            resource("/tools/{name:path}", GET=self.tool),
            resource("/code/actions", GET=self.actions),
        ]

    async def tools(self, request: Request) -> ASGIApp:
        found = [_tool(spec) for spec in await self._visible(request)]
        return Answer({"tools": found, "total": len(found)})

    async def tool(self, request: Request) -> ASGIApp:
        name: str = request.path_params["name"]
        for spec in await self._visible(request):
            if spec.name == name:
                return Answer(_tool(spec))
        raise HttpError(404, f"there is no tool named {name[:256]!r}")

    async def actions(self, request: Request) -> ASGIApp:
        specs = await self._visible(request)
        services = Counter(_service(spec) for spec in specs)
        return Answer(
            {
                "actions": [_action(spec) for spec in specs],
                "services": [
                    {"name": name, "actionCount": count} for name, count in sorted(services.items())
                ],
                "version": str(self._broker.catalog_version),
            }
        )

    async def _visible(self, request: Request) -> list[ToolSpec]:
        principal = caller_of(request).principal
        return list((await self._broker.visible_tools(principal=principal)).values())


def _tool(spec: ToolSpec) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": spec.name,
        "description": spec.description,
        "inputSchema": spec.input_schema,
        "tags": sorted(spec.tags),
        "deprecated": spec.deprecated,
    }
    if spec.output_schema is not None:
        shown["outputSchema"] = spec.output_schema
    return shown


def _action(spec: ToolSpec) -> dict[str, Any]:
    return {**_tool(spec), "service": _service(spec)}


def _service(spec: ToolSpec) -> str:
    """What stands before the first colon of a name; where the tool comes from without one."""
    space, colon, _ = spec.name.partition(":")
    return space if colon else spec.source
