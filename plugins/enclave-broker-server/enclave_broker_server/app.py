"""The ASGI application: a broker's sessions, calls and catalog over HTTP and WebSocket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from importlib_metadata import version
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from enclave_broker_core.broker import Broker
from enclave_broker_core.contracts import Authenticator

from .catalog import CatalogRoutes
from .door import Door
from .draining import Draining
from .following import StreamRoutes
from .health import HealthRoutes
from .identity import Identity
from .openapi import OpenApiRoutes
from .origins import Origins
from .plugin_routes import PluginRoutes
from .resources import Resources
from .service import Service
from .sessions import SessionRoutes
from .settings import ServerSettings
from .streams import Streams
from .tickets import Tickets
from .tool_calls import ToolCallRoutes
from .tracing import RequestTracing
from .websocket import SocketRoutes

# Longer than a ticket lives, in seconds.
TICKET_WINDOW = 120.0


def create_app(
    broker: Broker,
    *,
    authenticators: Sequence[Authenticator] = (),
    settings: ServerSettings | None = None,
    routes: Sequence[BaseRoute] = (),
    draining: Draining | None = None,
) -> ASGIApp:
    """The application of an open broker; mountable in any other ASGI application.

    Without ``authenticators`` everybody who can reach it is one anonymous principal.
    ``routes`` are taken in besides its own, behind the same door: who calls is in
    ``scope["enclave.caller"]``, the broker in ``scope["enclave.broker"]``, its tracer in
    ``scope["enclave.tracer"]``; what one asks of the door is in its RouteTraits. ``draining`` is
    for who wants to stop it without haste.
    """
    settings = settings or ServerSettings()
    secret = settings.ticket_key
    key = None if secret is None else secret.get_secret_value().encode()

    async def first_use(session_id: str, nonce: str) -> bool:
        session = await broker.get_session(session_id)
        return await session.claims().first(f"ticket:{nonce}", seconds=TICKET_WINDOW)

    tickets = Tickets(key, first_use)
    draining = draining or Draining(settings.drain_timeout)
    streams = Streams(settings.streams.max_per_session)
    service = Service(broker, settings, streams, tickets, draining)
    parts: tuple[Any, ...] = (
        SessionRoutes(service),
        StreamRoutes(service),
        ToolCallRoutes(service),
        SocketRoutes(service),
        CatalogRoutes(service),
        HealthRoutes(service),
        OpenApiRoutes(service, version("enclave-broker-server"), secured=bool(authenticators)),
    )
    own: list[BaseRoute] = [route for part in parts for route in part.routes()]
    router = Resources([*own, *routes])
    plugins = PluginRoutes(broker, routes, own, settings.pass_headers)
    for traits in plugins.traits.values():
        if traits.on_drain is not None:
            draining.tell(traits.on_drain)
    identity = Identity(authenticators, tickets.redeem)
    tracing = RequestTracing(lambda: broker.tracer)
    return Door(router, settings.limits, Origins(settings), identity, tracing, plugins)
