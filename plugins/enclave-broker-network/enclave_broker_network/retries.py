"""When a request is sent again: what may be repeated, after what, and how long is waited."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Annotated

import stamina
from pydantic import Field

from enclave_broker_core.models import Frozen, Seconds

from .errors import OutboundError
from .messages import OutboundRequest, OutboundResponse

# What says that the same request may be answered later.
LATER_STATUSES = frozenset({429, 502, 503, 504})


class Retries(Frozen):
    """How often a request is sent again that may be.

    What ``Retry-After`` says is waited for in place of these waits; when there is no time for
    it, the answer is given as it is.
    """

    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """How often it is sent, the first time too."""
    wait_initial: Seconds = 0.1
    """The first wait, in seconds; each is twice the one before."""
    wait_max: Seconds = 5.0
    """The longest wait, in seconds."""
    wait_jitter: Annotated[float, Field(ge=0, le=60)] = 0.5
    """Seconds by which a wait may be longer by chance."""


class _AnsweredLaterError(Exception):
    """The service said that it answers later."""

    def __init__(self, response: OutboundResponse) -> None:
        super().__init__(f"HTTP status {response.status}")
        self.response = response


async def repeated(
    request: OutboundRequest,
    send: Callable[[], Awaitable[OutboundResponse]],
    retries: Retries | None,
    until: float,
) -> OutboundResponse:
    """Send a request, and again as ``retries`` says when it may be sent twice.

    ``until`` is the end of the time for all, by ``time.monotonic``.
    """
    if retries is None or retries.attempts == 1 or not request.may_repeat:
        return await send()
    wait = 0.0

    def again(problem: Exception) -> bool | float:
        left = until - time.monotonic()
        if isinstance(problem, _AnsweredLaterError):
            asked = problem.response.retry_after()
            if asked is not None:
                return max(asked, wait) if asked < left else False
        elif not (isinstance(problem, OutboundError) and problem.retryable):
            return False
        return min(wait + retries.wait_jitter, retries.wait_max) < left

    attempts = stamina.retry_context(
        on=again,
        attempts=retries.attempts,
        timeout=None,
        wait_initial=retries.wait_initial,
        wait_max=retries.wait_max,
        wait_jitter=retries.wait_jitter,
    )
    try:
        async for attempt in attempts:
            wait = attempt.next_wait
            with attempt:
                response = await send()
                if response.status in LATER_STATUSES:
                    raise _AnsweredLaterError(response)
                return response
    except _AnsweredLaterError as answered:
        return answered.response
    raise AssertionError("stamina makes one attempt or more")
