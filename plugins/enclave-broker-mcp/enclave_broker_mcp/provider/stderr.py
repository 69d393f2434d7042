"""What a server's program writes to stderr goes to the log: some of it, and no secret."""

from __future__ import annotations

import logging
import time
from collections import deque

import anyio
from anyio.abc import ByteReceiveStream

from enclave_broker_core.redaction import Redactor

from .texts import line

_log = logging.getLogger(__name__)

LONGEST_LINE = 500
AT_ONCE = 50.0
PER_SECOND = 1.0
_LONGEST_READ = 8 * 1024


async def pass_on(
    stream: ByteReceiveStream, name: str, redactor: Redactor, newest: deque[bytes]
) -> None:
    """Log the lines until the stream ends. Of many at once some are left out, and counted.

    ``newest`` has the last ones as they came, also of those that were left out.
    """
    left, last, left_out = AT_ONCE, time.monotonic(), 0
    pending = b""
    async for chunk in stream:
        *lines, pending = (pending + chunk).split(b"\n")
        # Not in the middle of what may be a secret: the rest of an endless line is dropped.
        pending = pending if len(pending) <= _LONGEST_READ else b""
        for text in lines:
            if not text.strip():
                continue
            newest.append(text[:_LONGEST_READ])
            now = time.monotonic()
            left = min(AT_ONCE, left + (now - last) * PER_SECOND)
            last = now
            if left < 1.0:
                left_out += 1
                continue
            left -= 1.0
            if left_out:
                _log.info("%s: %d lines were left out", name, left_out)
                left_out = 0
            _log.info("%s: %s", name, shown(text, redactor))
        await anyio.lowlevel.checkpoint()


def shown(text: bytes, redactor: Redactor) -> str:
    """A line as it may stand in a log."""
    return line(redactor.text(text[:_LONGEST_READ].decode("utf-8", "replace")), LONGEST_LINE)
