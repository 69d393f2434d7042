"""A tool that is an HTTP request."""

from __future__ import annotations

import re
from collections.abc import Coroutine, Mapping
from copy import deepcopy
from typing import Any

from enclave_broker_network.messages import OutboundResponse
from enclave_broker_network.outbound import OnProgress, Outbound
from pydantic import JsonValue

from enclave_broker_core.contracts import ToolContext
from enclave_broker_core.errors import ToolError
from enclave_broker_core.redaction import BLOT, SHORTEST

from .results import is_text
from .shape import RequestShape

EXCERPT = 500
_TOKEN_AT_END = re.compile(r"[A-Za-z0-9+/=_.~%-]+\Z")


class ServiceError(ToolError):
    """The service answered with a status that is an error; ``status`` is it."""

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.status = status


class BusyServiceError(ServiceError):
    """The service answers later; ``retry_after`` says when, if it said so."""

    retryable = True


class HttpTool:
    """Fills in its request, sends it, and takes the result out of the answer."""

    def __init__(
        self, shape: RequestShape, source: str, outbound: Outbound, progress: bool
    ) -> None:
        self.spec = shape.spec(source)
        self._shape = shape
        self._outbound = outbound
        self._progress = progress

    def validate(self, arguments_json: bytes) -> dict[str, Any]:
        return self._shape.checked.validate(arguments_json)

    def dump(self, arguments: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        return deepcopy(dict(arguments))

    def invoke(
        self, arguments: Mapping[str, Any], context: ToolContext
    ) -> Coroutine[Any, Any, Any]:
        return self._call(arguments, context)

    async def _call(self, arguments: Mapping[str, Any], context: ToolContext) -> Any:
        filled = self._shape.fill(arguments, context.secret)
        response = await self._outbound.send(
            filled.request,
            within=context.remaining(),
            retries=self._shape.retries,
            on_progress=_progress(context) if self._progress else None,
        )
        good = 200 <= response.status < 300
        if not good and response.status not in self._shape.config.allow_status:
            raise _error(response, filled.hidden)
        return self._shape.result(response)


def _progress(context: ToolContext) -> OnProgress:
    async def tell(phase: Any, received: int | None, total: int | None) -> None:
        await context.progress(phase, bytes_received=received, total_bytes=total)

    return tell


def _error(response: OutboundResponse, hidden: frozenset[str]) -> ServiceError:
    """What the agent hears: the status, and the beginning of what the service says of it."""
    said = f"the service answered with status {response.status}"
    if response.body and is_text(response):
        text = response.text()
        for value in sorted(hidden, key=len, reverse=True):
            text = text.replace(value, BLOT) if len(value) >= SHORTEST else text
        text = " ".join(text.split())
        if len(text) > EXCERPT:
            # Not in the middle of what may be a secret, which then nobody would know again.
            text = _TOKEN_AT_END.sub("", text[:EXCERPT]) + "…"
        said += f": {text}"
    kind = BusyServiceError if response.status in (429, 503) else ServiceError
    return kind(said, status=response.status, retry_after=response.retry_after())
