"""What the SDK logs of its own accord: ids of sessions, URLs, and whatever servers have sent."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from enclave_broker_core.redaction import Redactor

# The SDK's own, of which nobody needs what is below a warning; and those that others may have.
ITS_OWN = (
    "mcp.client.auth.oauth2",
    "mcp.client.streamable_http",
    "mcp.shared.jsonrpc_dispatcher",
)
SHARED = ("client", "httpx2")


class Discreet(logging.Filter):
    """Lets records through without secrets, from ``least`` on."""

    def __init__(self, redactor: Redactor, least: int) -> None:
        super().__init__()
        self._redactor = redactor
        self._least = least

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < self._least:
            return False
        said = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1]))
            said, record.exc_info = f"{said}\n{trace.rstrip()}", None
        record.msg, record.args = self._redactor.text(said), ()
        return True


@contextmanager
def discreet(redactor: Redactor) -> Iterator[None]:
    """In this block the SDK logs nothing that the redactor knows."""
    added = [
        (logging.getLogger(name), Discreet(redactor, least))
        for names, least in ((ITS_OWN, logging.WARNING), (SHARED, logging.NOTSET))
        for name in names
    ]
    for logger, keeps in added:
        logger.addFilter(keeps)
    try:
        yield
    finally:
        for logger, keeps in added:
            logger.removeFilter(keeps)
