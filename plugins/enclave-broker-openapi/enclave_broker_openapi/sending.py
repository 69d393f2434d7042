"""Sends the request of a call and makes a result of the answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

from enclave_broker_network.messages import OutboundResponse
from enclave_broker_network.outbound import Outbound
from enclave_broker_network.retries import Retries

from enclave_broker_core.contracts import ToolContext
from enclave_broker_core.errors import ToolError

from .answers import result_of
from .authorising import Authoriser
from .compiling import Compiled

# A call that is over sooner than this, in seconds, tells nobody how far it is.
QUIET = 1.0

Phase = Literal["connecting", "sending", "receiving"]


class Sender:
    """What all tools of a source share: connections, tokens and retries."""

    def __init__(self, outbound: Outbound, authoriser: Authoriser, retries: Retries | None) -> None:
        self._outbound = outbound
        self._authoriser = authoriser
        self._retries = retries

    async def call(
        self, compiled: Compiled, arguments: Mapping[str, Any], context: ToolContext
    ) -> Any:
        """The result; BrokerErrors for arguments, the way there, and what the service refuses."""
        response = await self._send(compiled, arguments, context)
        if response.status == 401 and self._authoriser.forget(compiled.uses):
            response = await self._send(compiled, arguments, context)
        try:
            result = result_of(compiled.plan.method, response)
        except ToolError as error:
            said = self._authoriser.redactor.text(error.message)
            raise type(error)(said, retry_after=error.retry_after) from None
        # A service may answer with what it was shown.
        return self._authoriser.redactor.value(result) if compiled.uses else result

    async def _send(
        self, compiled: Compiled, arguments: Mapping[str, Any], context: ToolContext
    ) -> OutboundResponse:
        shown = await self._authoriser.show(compiled.uses, context.secret)
        request = compiled.plan.request(arguments, shown)
        since = time.monotonic()

        async def progress(phase: Phase, received: int | None, total: int | None) -> None:
            if time.monotonic() - since >= QUIET:
                await context.progress(phase, bytes_received=received, total_bytes=total)

        return await self._outbound.send(
            request, within=context.remaining(), retries=self._retries, on_progress=progress
        )
