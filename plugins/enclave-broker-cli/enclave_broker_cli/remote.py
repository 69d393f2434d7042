"""``enclave-broker run --url``: the same on a server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from enclave_broker_client import Client, ClientSession, EventStream
from pydantic_core import to_json

from enclave_broker_core.errors import BrokerError, ConfigError
from enclave_broker_core.events import Event

from .progress import Progress
from .reporting import complain
from .show import Show
from .showing import show_all

# What the protocol lets a server leave out.
LEFT_OUT: Mapping[str, Mapping[str, Any]] = {
    "tool_result_applied": {"ok": True, "durationMs": 0},
    "final": {"stats": {"durationMs": 0, "toolCallCount": 0, "stdoutBytes": 0}},
}


async def run_at(
    url: str,
    token_env: str | None,
    code: str,
    show: Show,
    progress: Progress,
    options: Mapping[str, Any],
    *,
    json: bool,
) -> int:
    """Run code in a session on a server and show its events; the exit code."""
    try:
        async with (
            Client(url, token=_token(token_env)) as client,
            client.stream(code, **options) as events,
        ):
            session = _Remote(client.existing(events.session_id))
            return await show_all(session, _whole(events), show, progress)
    except BrokerError as error:
        return complain(error, json=json)


class _Remote:
    """A session that is cancelled if its server can be reached; else there is nothing to do."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def cancel(self, reason: str) -> None:
        with suppress(BrokerError):
            await self._session.cancel(reason)


def _token(name: str | None) -> str | None:
    if name is None:
        return None
    token = os.environ.get(name)
    if not token:
        raise ConfigError(f"--token-env: there is no variable {name} with a token in it")
    return token


async def _whole(events: EventStream) -> AsyncIterator[Event]:
    async for event in events:
        yield _filled(event)


def _filled(event: Event) -> Event:
    """The event with all that is shown of it."""
    payload = event.payload
    missing = {
        key: value for key, value in LEFT_OUT.get(event.type, {}).items() if key not in payload
    }
    error = payload.get("error")
    if event.type == "final" and isinstance(error, dict) and "code" not in error:
        missing["error"] = {"code": "RUNTIME_ERROR", **error}
    return event._replace(payload_json=to_json(payload | missing)) if missing else event
