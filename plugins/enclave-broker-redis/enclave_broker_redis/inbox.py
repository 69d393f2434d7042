"""What replicas tell each other: a stream for each, read by it alone, with reads that wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping

import anyio
from redis.asyncio.connection import AbstractConnection

from enclave_broker_core.errors import StoreError

from .connecting import BROKEN
from .engine import Engine
from .keys import Keys
from .ops import Argument, Script

_log = logging.getLogger(__name__)

RING = Script("ring", again=False)

# Of what nobody reads, so much is kept, for so many milliseconds.
MOST_TOLD = 10_000
KEPT = 60_000
READ_AT_ONCE = 1_000
# After a connection broke: so many seconds until the next.
PAUSE = 0.25

Told = Mapping[bytes, bytes]


class Outbox:
    """Tells other replicas something; those known to be gone are told nothing.

    Sessions that something happened to are gathered for one turn of the loop.
    """

    def __init__(self, engine: Engine, keys: Keys) -> None:
        self._engine = engine
        self._keys = keys
        self._rung: dict[str, dict[str, None]] = {}
        self._gone: set[str] = set()
        self._known: set[str] = set()

    def living(self, replicas: Collection[str]) -> None:
        """Who lives now, as far as one can know."""
        living = set(replicas)
        self._gone = (self._gone | self._known) - living
        if len(self._gone) > MOST_TOLD:
            self._gone.clear()
        self._known = living

    def ring(self, replica: str, session_id: str) -> None:
        """Something has happened to the session."""
        if replica in self._gone:
            return
        if not self._rung:
            asyncio.get_running_loop().call_soon(self._ring_all)
        self._rung.setdefault(replica, {})[session_id] = None

    def _ring_all(self) -> None:
        rung, self._rung = self._rung, {}
        for replica, sessions in rung.items():
            self.tell(replica, "e", " ".join(sessions))

    def tell(self, replica: str, *told: Argument) -> None:
        """Begin to tell a replica something; it is not known whether it hears it."""
        if replica not in self._gone:
            self._engine.run(RING, [self._keys.inbox(replica)], [MOST_TOLD, KEPT, *told])


class Inbox:
    """Hands to ``heard`` what this replica is told, in the order in which it was told.

    After trouble it may be told something once more. ``connected`` says whether it listens.
    """

    def __init__(self, engine: Engine, keys: Keys, heard: Callable[[Told], None]) -> None:
        self._engine = engine
        self._keys = keys
        self._heard = heard
        self.connected = False

    async def read(self, replica: str, block: float) -> None:
        """Read until cancelled; ``block`` is how many seconds one read waits."""
        key, after = self._keys.inbox(replica), b"0"
        troubled = False
        while True:
            try:
                async with self._engine.connection(key) as connection:
                    troubled = False
                    while True:
                        after = await self._next(connection, key, after, block)
            except (StoreError, *BROKEN) as problem:
                if not troubled:
                    _log.warning("this broker hears nothing from others: %s", problem)
                troubled = True
                after = b"0"
            finally:
                self.connected = False
            await anyio.sleep(PAUSE)

    async def _next(
        self, connection: AbstractConnection, key: str, after: bytes, block: float
    ) -> bytes:
        """Read what is there, or comes; the id of the last of it."""
        wait = max(1, int(block * 1000))
        await connection.send_command(
            "XREAD", "COUNT", READ_AT_ONCE, "BLOCK", wait, "STREAMS", key, after
        )
        async with asyncio.timeout(3 * block + 1.0):
            reply = await connection.read_response()
        self.connected = True
        if not reply:
            return after
        [[_, entries]] = reply
        for id, fields in entries:
            after = id
            self._heard(dict(zip(fields[::2], fields[1::2], strict=True)))
        self._engine.do("XTRIM", key, "MINID", _behind(after))
        return after


def _behind(id: bytes) -> str:
    time, number = id.split(b"-")
    return f"{time.decode()}-{int(number) + 1}"
