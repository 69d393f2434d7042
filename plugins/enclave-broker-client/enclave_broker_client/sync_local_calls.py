"""Answers the calls of a session's client tools in threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from enclave_broker_core.errors import BrokerError

from .asking import Asking
from .driving import SyncDriver
from .following import Following
from .local_calls import answering
from .streams import SyncEventStream
from .toolbox import LocalCall, Toolbox

_log = logging.getLogger(__name__)


class SyncLocalCalls:
    """In its block one thread follows the session, and up to ``most`` others run handlers.

    The block ends when the session has: that is what ends the thread. What kept it from
    following the session is raised then, unless the block raises something itself.
    """

    def __init__(
        self,
        following: Following,
        toolbox: Toolbox,
        asking: Asking,
        driver: Callable[[], SyncDriver],
        most: int,
    ) -> None:
        self._following = following
        self._toolbox = toolbox
        self._asking = asking
        self._driver = driver
        self._places = threading.Semaphore(most)
        self._threads = ThreadPoolExecutor(most + 1, "client tools")
        self._served: Future[None] | None = None

    def __enter__(self) -> Self:
        self._served = self._threads.submit(self._serve)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown()
        problem = None if self._served is None else self._served.exception()
        if problem is not None and error is None:
            raise problem

    def _serve(self) -> None:
        with SyncEventStream(self._driver(), self._following) as events:
            for event in events:
                call = self._toolbox.see(event)
                if call is not None:
                    self._places.acquire()
                    self._threads.submit(self._handle, call)

    def _handle(self, call: LocalCall) -> None:
        try:
            answer = self._toolbox.answer_here(call)
            steps = answering(self._asking, self._following.session_id, call, answer)
            self._driver().ask(steps)
        except BrokerError as problem:
            _log.warning("the answer to %s could not be sent: %s", call.id, problem.message)
        finally:
            self._places.release()
