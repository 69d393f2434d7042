"""The routes of plugins, behind the door: what they find in the scope, and what they ask for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.routing import BaseRoute, Match, Mount
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

NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
VALUE = re.compile(r"[\x20-\x7e]*")


class PluginRoutes:
    """ConfigError for traits that could not be kept, or that would open another route.

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
            asked = _traits(route)
            if asked is None:
                continue
            path, traits = asked
            if any(_takes(one, path) for one in own):
                raise ConfigError(f"{path!r} is a path of the server's own: choose another")
            if path in self.traits:
                raise ConfigError(f"two routes of plugins have the path {path!r}")
            others = (one for one in routes if one is not route)
            if traits.public and any(_takes(one, path) for one in others):
                raise ConfigError(f"{path!r} is public, and another route takes it too")
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


def _traits(route: BaseRoute) -> tuple[str, RouteTraits] | None:
    """What a route asks of the door, if it asks for something, with its path."""
    traits = getattr(route, "enclave", None)
    if traits is None:
        return None
    path = getattr(route, "path", None)
    if isinstance(route, Mount) or not isinstance(path, str):
        raise ConfigError(f"the door can't tell which requests {path or route!r} takes: many paths")
    if "{" in path:
        raise ConfigError(f"the door can't tell which requests {path!r} takes: it has parameters")
    if not isinstance(traits, RouteTraits):
        raise ConfigError(f"{path!r} has an `enclave` that is no RouteTraits")
    if not VALUE.fullmatch(traits.challenge or ""):
        raise ConfigError(f"the challenge of {path!r} is no header")
    for name in (*traits.request_headers, *traits.answer_headers):
        if not NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is no name of a header, and {path!r} asks for it")
    return path, traits


def _takes(route: BaseRoute, path: str) -> bool:
    """Whether requests for a path may come to a route, by whatever method."""
    scope = {"method": "GET", "path": path, "root_path": "", "headers": []}
    kinds = ({**scope, "type": kind} for kind in ("http", "websocket"))
    return any(route.matches(asked)[0] is not Match.NONE for asked in kinds)
