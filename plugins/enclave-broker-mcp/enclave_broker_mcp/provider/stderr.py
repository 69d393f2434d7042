"""What a server's program writes to stderr goes to the log: some of it, and no secret."""

from __future__ import annotations

import logging
import time

import anyio
from anyio.abc import ByteReceiveStream

from enclave_broker_core.redaction import Redactor

from .texts import line

_log = logging.getLogger(__name__)

LONGEST_LINE = 500
AT_ONCE = 50.0
PER_SECOND = 1.0
_LONGEST_READ = 8 * 1024


async def pass_on(stream: ByteReceiveStream, name: str, redactor: Redactor) -> None:
    """Log the lines until the stream ends. Of many at once some are left out, and counted."""
    left, last, left_out = AT_ONCE, time.monotonic(), 0
    pending = b""
    async for chunk in stream:
        *lines, pending = (pending + chunk).split(b"\n")
        # Not in the middle of what may be a secret: the rest of an endless line is dropped.
        pending = pending if len(pending) <= _LONGEST_READ else b""
        for text in lines:
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
            said = line(
                redactor.text(text[:_LONGEST_READ].decode("utf-8", "replace")), LONGEST_LINE
            )
            if said:
                _log.info("%s: %s", name, said)
        await anyio.lowlevel.checkpoint()
