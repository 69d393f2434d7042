"""What sandboxed code prints, on its way to the session: in order, and bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import ResultTooLargeError

from .helpers import Helpers


class Output:
    """Takes printed text from the sandbox's thread and hands it to the host's loop.

    ``stop`` is called on the loop with the error that ends the run when the host refuses
    text. At most the session's ``max_output_bytes`` are held: what is longer than that is
    refused in any case.
    """

    def __init__(
        self, host: RuntimeHost, stop: Callable[[Exception], None], helpers: Helpers
    ) -> None:
        self._host = host
        self._stop = stop
        self._helpers = helpers
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[str] = deque()
        self._held = 0
        self._turn = asyncio.Lock()
        self._closed = False

    def printed(self, stream: str, text: str) -> None:
        """Take one piece of text. Called on a thread of pydantic-monty, in order."""
        limit = self._host.limits.max_output_bytes
        # A character is a byte at the least; counting exactly would copy a huge text.
        if self._closed or self._held + len(text) > limit:
            too_large = ResultTooLargeError(f"the code printed more than {limit} bytes")
            self._loop.call_soon_threadsafe(self._stop, too_large)
            raise MemoryError(too_large.message)
        self._held += len(text)
        self._chunks.append(text)
        self._loop.call_soon_threadsafe(self._pass_on)

    def _pass_on(self) -> None:
        # Who is in turn takes this text as well.
        if not self._turn.locked():
            self._helpers.start(self.flush())

    async def flush(self) -> None:
        """Return when all that was printed before has been passed on."""
        if not self._chunks and not self._turn.locked():
            return
        async with self._turn:
            while self._chunks and not self._closed:
                text = self._chunks.popleft()
                self._held -= len(text)
                try:
                    await self._host.stdout(text)
                except Exception as refusal:
                    self._closed = True
                    self._stop(refusal)
