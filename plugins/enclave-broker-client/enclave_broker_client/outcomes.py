"""How code ended, out of the events that tell it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from enclave_broker_core.calls import RunOutcome
from enclave_broker_core.errors import BrokerError, SessionEndedError
from enclave_broker_core.events import Event
from enclave_broker_core.models import RunStats

from .refusals import error_of


def final_error(payload: Mapping[str, Any], status: int | None = None) -> BrokerError:
    """The error of a final event, with its details when there are any."""
    error = payload["error"]
    for item in payload.get("errors") or ():
        if isinstance(item, dict) and item.get("code") == error.get("code"):
            return error_of(item, status=status)
    return error_of(error, status=status)


class Outcome:
    """Watches events go by until one says how the code ended.

    With ``last`` the session ends with its code. Otherwise it is one run of several, that of
    ``run_id``, whose numbers are counted here, since no event has them.
    """

    def __init__(self, *, last: bool) -> None:
        self._last = last
        self._started = time.monotonic()
        self._calls = 0
        self._printed = 0
        self.run_id: str | None = None
        self.found: RunOutcome | None = None

    def see(self, event: Event) -> bool:
        """Whether this event is the one."""
        if event.type == "final":
            self.found = _final(event.payload)
            if self.found.ok and not self._last:
                ended = SessionEndedError("the session has ended before its run")
                self.found = RunOutcome(False, None, ended, self.found.stats)
        elif event.type == "tool_call":
            self._calls += 1
        elif event.type == "stdout":
            self._printed += len(event.payload["chunk"].encode("utf-8", "replace"))
        elif event.type == "partial_result" and not self._last:
            self._run(event.payload)
        return self.found is not None

    def _run(self, payload: Mapping[str, Any]) -> None:
        path = payload["path"]
        if len(path) != 2 or path[0] != "run" or payload["hasNext"]:
            return
        if self.run_id is not None and path[1] != self.run_id:
            return
        stats = RunStats(time.monotonic() - self._started, self._calls, self._printed)
        error = payload.get("error")
        if isinstance(error, dict):
            self.found = RunOutcome(False, None, error_of(error), stats, path[1])
        else:
            self.found = RunOutcome(True, payload.get("data"), None, stats, path[1])


def _final(payload: Mapping[str, Any]) -> RunOutcome:
    stats = _stats(payload.get("stats"))
    if payload["ok"]:
        return RunOutcome(True, payload.get("result"), None, stats)
    return RunOutcome(False, None, final_error(payload), stats)


def _stats(given: Any) -> RunStats:
    said = given if isinstance(given, dict) else {}
    numbers = [said.get(name) for name in ("durationMs", "toolCallCount", "stdoutBytes")]
    milliseconds, calls, printed = (n if isinstance(n, int) else 0 for n in numbers)
    return RunStats(milliseconds / 1000, calls, printed)
