"""One session on a server, in the thread of the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from enclave_broker_core.calls import CallRecord, RunOutcome

from .connection import Connection
from .driving import SyncDriver
from .models import SessionInfo, Ticket
from .options import Filter
from .streams import SyncEventStream


class SyncClientSession:
    """A session, as ``ClientSession`` is one; its methods block."""

    def __init__(
        self, session_id: str, connection: Connection, driver: Callable[[], SyncDriver]
    ) -> None:
        self.id = session_id
        self._connection = connection
        self._asking = connection.asking
        self._driver = driver

    def call(
        self,
        name: str,
        args: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        repeat: bool = True,
    ) -> Any:
        """As ``ClientSession.call``."""
        steps = self._asking.call(self.id, name, args, idempotency_key, repeat=repeat)
        return self._driver().ask(steps)

    def execute(self, code: str, *, filter: Filter | None = None) -> SyncEventStream:
        """As ``ClientSession.execute``."""
        following = self._connection.executing(self.id, code, filter)
        return SyncEventStream(self._driver(), following)

    def run(self, code: str) -> RunOutcome:
        """As ``ClientSession.run``."""
        with self.execute(code) as events:
            return events.finish()

    def events(self, from_seq: int = 1, *, filter: Filter | None = None) -> SyncEventStream:
        """As ``ClientSession.events``."""
        return SyncEventStream(
            self._driver(), self._connection.following(self.id, from_seq, filter)
        )

    def history(self) -> Sequence[CallRecord]:
        """As ``ClientSession.history``."""
        return self._driver().ask(self._asking.history(self.id))

    def info(self) -> SessionInfo:
        """As ``ClientSession.info``."""
        return self._driver().ask(self._asking.info(self.id))

    def ticket(self) -> Ticket:
        """As ``ClientSession.ticket``."""
        return self._driver().ask(self._asking.ticket(self.id))

    def cancel(self, reason: str = "cancelled by the client") -> None:
        """As ``ClientSession.cancel``."""
        self._driver().ask(self._asking.cancel(self.id, reason))

    def delete(self) -> None:
        """As ``ClientSession.delete``."""
        self._driver().ask(self._asking.delete(self.id))

    def __repr__(self) -> str:
        return f"SyncClientSession({self.id!r})"
