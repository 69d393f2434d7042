"""The one thread that writes: what is asked for together is one transaction."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import anyio

from enclave_broker_core.errors import BrokerError, StoreError

from .failures import failure, is_of_file
from .waiting import Loop, Op, Then, Waiter

T = TypeVar("T")

_log = logging.getLogger(__name__)

# One transaction; what else is asked for meanwhile is in the next.
MOST_OPS = 512


class Book(Protocol):
    """What is written, as the thread sees it. Only ``begin`` to ``rollback`` are a transaction."""

    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...

    def tidy(self) -> bool:
        """Do a small piece of what can wait, in a transaction of its own; whether there is more."""

    def close(self) -> None: ...


class Writer:
    """Does what is asked for in transactions, in the order in which it was asked for.

    All that is asked for in one turn of the event loop, and while a transaction is under way,
    goes into one. ``path`` is for messages; ``changed`` is called with the names that the ops
    of a transaction have touched, when there are any.
    """

    def __init__(self, book: Book, path: str, changed: Callable[[str], None]) -> None:
        self._book = book
        self._path = path
        self._changed = changed
        self._loop = Loop()
        self._asked: list[Op] = []
        self._sent: list[Op] = []
        self._scheduled = False
        self._under_way = False
        self._closed = False
        self._emptied: Waiter | None = None
        self._stopped = self._loop.waiter()
        self._batches: queue.SimpleQueue[list[Op] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="enclave-sqlite", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Whether all that was asked for has been done."""
        return not (self._asked or self._under_way)

    def ask(self, act: Callable[[], Any], *touched: str, then: Then | None = None) -> Op:
        """Have ``act`` done, whether or not somebody waits for it. StoreError when closed."""
        if self._closed:
            raise StoreError(f"the file {self._path} is closed: its broker has ended")
        op = Op(act, touched, then, self._loop.waiter())
        self._asked.append(op)
        if not (self._scheduled or self._under_way):
            self._scheduled = True
            self._loop.soon(self._send)
        return op

    async def answer(self, op: Op) -> Any:
        """What it returned, once it is committed. StoreError when it could not be.

        Who is cancelled meanwhile waits for it all the same, and then is.
        """
        try:
            await op.waiter
        except anyio.get_cancelled_exc_class():
            await op.see_through(self._loop.waiter)
            raise
        if op.problem is not None:
            raise op.problem
        return op.result

    async def do(self, act: Callable[[], T], *touched: str, then: Then | None = None) -> T:
        """``ask`` and ``answer``."""
        result: T = await self.answer(self.ask(act, *touched, then=then))
        return result

    async def close(self) -> None:
        """Do what was asked for, and end the thread."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            while not self.idle:
                self._emptied = self._loop.waiter()
                await self._emptied
            self._batches.put(None)
            await self._stopped
        self._thread.join()

    def _send(self) -> None:
        self._scheduled = False
        if self._asked and not self._under_way:
            batch, self._asked = self._asked[:MOST_OPS], self._asked[MOST_OPS:]
            self._under_way = True
            self._sent = batch
            self._batches.put(batch)

    def _finished(self) -> None:
        batch, self._sent = self._sent, []
        self._under_way = False
        for op in batch:
            op.done = True
            op.waiter.set()
            if op.then is not None and op.problem is None:
                op.then(op.result)
            for name in op.touched:
                self._changed(name)
        if self._emptied is not None and not self._asked:
            self._emptied.set()
        # Those who go on now may ask for more: it is for the same transaction.
        if self._asked and not self._scheduled:
            self._scheduled = True
            self._loop.soon(self._send)

    # In the thread

    def _work(self) -> None:
        book, batches = self._book, self._batches
        untidy = True
        while True:
            try:
                batch = batches.get_nowait() if untidy else batches.get()
            except queue.Empty:
                untidy = self._tidy()
                continue
            if batch is None:
                break
            done = self._do(batch)
            self._tell(self._finished)
            untidy = done and self._tidy()
        try:
            book.close()
        except Exception:
            _log.exception("the file %s could not be closed", self._path)
        self._tell(self._stopped.set)

    def _tell(self, function: Callable[[], None]) -> None:
        try:
            self._loop.from_thread(function)
        except RuntimeError:
            _log.debug("the event loop has ended before the file %s was closed", self._path)

    def _tidy(self) -> bool:
        try:
            return self._book.tidy()
        except Exception as problem:
            self._book.rollback()
            _log.warning("%s", failure(self._path, problem))
            return False

    def _do(self, batch: Sequence[Op]) -> bool:
        """Do all of it in one transaction, or each by itself when one of them can't be done.

        False when there was such a one.
        """
        problem = self._transact(batch)
        if problem is None:
            return True
        for op in batch:
            own: Exception | None = problem
            if len(batch) > 1 and not is_of_file(problem):
                own = self._transact([op])
            if own is not None:
                op.problem = failure(self._path, own)
        return False

    def _transact(self, batch: Sequence[Op]) -> Exception | None:
        """What has kept it from happening; None when it has."""
        book = self._book
        try:
            book.begin()
            for op in batch:
                try:
                    op.result, op.problem = op.act(), None
                except BrokerError as problem:
                    op.problem = problem
            book.commit()
        except Exception as problem:
            book.rollback()
            return problem
        return None
