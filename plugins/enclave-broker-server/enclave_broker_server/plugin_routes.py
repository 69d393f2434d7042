"""The routes of plugins, behind the door: what they find in the scope, and what they ask for."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from enclave_broker_core.broker import Broker
from enclave_broker_core.errors import ConfigError
from enclave_broker_core.route_traits import RouteTraits

from .body import header

BROKER = "enclave.broker"
"""Where in the scope the broker is."""

CALLER_HEADERS = "enclave.caller_headers"
"""Where in the scope those headers of the request are that tools may pass on."""

USUAL = RouteTraits()


class PluginRoutes:
    """ConfigError for a route of a plugin whose path is the server's own.

    ``passed`` are the names of the headers that tools may pass on.
    """

    def __init__(
        self,
        broker: Broker,
        routes: Sequence[BaseRoute],
        own: Sequence[BaseRoute],
        passed: Sequence[str],
    ) -> None:
        self._broker = broker
        self._passed = [(name, name.encode()) for name in passed]
        self.traits: dict[str, RouteTraits] = {}
        for route in routes:
            for path, traits in _traits(route, own):
                if path in self.traits:
                    raise ConfigError(f"two routes of plugins have the path {path!r}")
                self.traits[path] = traits

    def of(self, path: str) -> RouteTraits:
        return self.traits.get(path, USUAL)

    def equip(self, scope: Scope) -> None:
        """Put what the routes of plugins may need into the scope."""
        scope[BROKER] = self._broker
        scope[CALLER_HEADERS] = {
            name: value.decode("latin-1")
            for name, key in self._passed
            if (value := header(scope, key)) is not None
        }


def _traits(route: BaseRoute, own: Sequence[BaseRoute]) -> list[tuple[str, RouteTraits]]:
    traits, path = getattr(route, "enclave", None), getattr(route, "path", None)
    if not isinstance(traits, RouteTraits) or not isinstance(path, str):
        return []
    if "{" in path:
        raise ConfigError(f"the door can't tell which requests {path!r} takes: it has parameters")
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
    if any(one.matches(scope)[0] is not Match.NONE for one in own):
        raise ConfigError(f"{path!r} is a path of the server's own: choose another")
    return [(path, traits)]
