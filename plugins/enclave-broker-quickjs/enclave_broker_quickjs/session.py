"""The code state of one session, kept between its runs and without a worker meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self

import anyio
from pydantic import JsonValue

from enclave_broker_core.contracts import RuntimeHost
from enclave_broker_core.errors import RunError
from enclave_broker_core.json_form import NotJsonError, TooLargeError, parse

from . import saved_state
from .checkpoints import Checkpoint
from .config import QuickJSConfig
from .run import Run
from .workers import Workers


class QuickJSSession:
    """A RuntimeSession. Runs are one after the other; a second one waits for the first.

    After an exception of the code its state is the one at the exception. After a limit, a
    dead worker, a cancellation or a refused output it is the one before the run.
    """

    def __init__(
        self,
        host: RuntimeHost,
        workers: Workers,
        config: QuickJSConfig,
        state: bytes,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._host = host
        self._workers = workers
        self._config = config
        self._state = state
        self._checkpoint = checkpoint
        self._turn = anyio.Lock(fast_acquire=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        """It holds nothing between its runs."""

    async def run(self, code: str, *, last: bool = False) -> JsonValue:
        return await self._do(lambda run: run(code), last)

    async def resume(self, *, last: bool = False) -> JsonValue:
        checkpoint, self._checkpoint = self._checkpoint, None
        if checkpoint is None:
            raise RunError("there is no run to go on with")
        return await self._do(lambda run: run.resume(checkpoint), last)

    async def _do(self, work: Callable[[Run], Awaitable[bytes]], last: bool) -> JsonValue:
        async with self._turn:
            run = Run(self._host, self._workers, self._config, self._state, last=last)
            try:
                text = await work(run)
            finally:
                self._state = run.state
        try:
            result: JsonValue = parse(text)
        except (NotJsonError, TooLargeError) as problem:
            raise RunError(f"the result of the run is no JSON: {problem}") from None
        return result

    async def dump(self) -> bytes | None:
        return saved_state.to_bytes(self._state)
