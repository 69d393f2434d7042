"""Whether the server is alive, and whether it is ready to take work."""

from __future__ import annotations

import logging

import anyio
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from enclave_broker_core.errors import BrokerError

from .answers import Answer, HttpError
from .resources import resource
from .service import Service

_log = logging.getLogger(__name__)

CHECK_TIME = 5.0


class HealthRoutes:
    """``/health`` and ``/ready``; both are open to everybody and say no more than that."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        return [
            resource("/health", GET=self.health),
            resource("/ready", GET=self.ready),
        ]

    async def health(self, request: Request) -> ASGIApp:
        return Answer({"status": "ok"})

    async def ready(self, request: Request) -> ASGIApp:
        self._service.draining.require_open()
        try:
            with anyio.fail_after(CHECK_TIME):
                await self._service.broker.check()
        except (BrokerError, TimeoutError, OSError) as problem:
            _log.warning("not ready: %s", problem)
            raise HttpError(503, "the store or the limiter can't be reached") from None
        return Answer({"status": "ready"})
