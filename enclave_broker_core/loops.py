"""Which event loop runs this."""

from __future__ import annotations

import asyncio
from typing import Literal

import anyio


def running_loop() -> Literal["asyncio", "trio"]:
    """The name of the event loop that is running; anyio says so by the error it cancels with."""
    return "asyncio" if anyio.get_cancelled_exc_class() is asyncio.CancelledError else "trio"
