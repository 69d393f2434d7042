"""One line for each request: who did what, and how it went. Never what was sent."""

from __future__ import annotations

import logging

from starlette.types import Scope

LOGGER = "enclave_broker.access"
LONGEST_PATH = 200


class AccessLog:
    """Logs to ``enclave_broker.access``; a stream when it ends."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(LOGGER)

    def write(self, scope: Scope, status: int, seconds: float) -> None:
        if not self._logger.isEnabledFor(logging.INFO):
            return
        # Without the query: there may be a ticket in it.
        raw = scope.get("raw_path") or scope["path"].encode()
        path = raw.partition(b"?")[0].decode("ascii", "backslashreplace")[:LONGEST_PATH]
        method = scope.get("method", "WS")
        caller = scope.get("enclave.caller")
        principal = "-" if caller is None else caller.name
        session = scope.get("enclave.session") or "-"
        request_id = scope["enclave.request_id"]
        self._logger.info(
            "%s %s %d in %.1f ms by %r session %s request %s",
            method,
            path,
            status,
            seconds * 1000,
            principal,
            session,
            request_id,
            extra={
                "method": method,
                "path": path,
                "status": status,
                "principal": principal,
                "session": session,
                "request_id": request_id,
            },
        )
