"""A cluster's nodes: which of them has a key, and what is sent to which."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError
from redis.utils import str_if_bytes

from .connecting import BROKEN, Address, Servers
from .lane import Lane
from .ops import Argument, Op

_log = logging.getLogger(__name__)

SLOTS = 16384
# Between two looks at a cluster that is in trouble.
PAUSE = 0.1


class Cluster:
    """Where the slots are, with a lane to each node that has some. See ``lane.Elsewhere``.

    ``open_lane(address)`` makes a lane that runs.
    """

    def __init__(self, servers: Servers, open_lane: Callable[[Address], Lane]) -> None:
        self._servers = servers
        self._open_lane = open_lane
        self._owners: list[Address | None] = [None] * SLOTS
        self._lanes: dict[Address, Lane] = {}
        self._stale = anyio.Event()

    def address_of(self, key: Argument) -> Address | None:
        return self._owners[slot_of(key)]

    def submit(self, op: Op) -> None:
        address = self.address_of(op.key)
        if address is None:
            # No node had the slot when last asked; whatever one is asked says why, or where.
            address = next(iter(self._lanes), self._servers.nodes[0])
            self._stale.set()
        self._lane(address).submit(op)

    def _lane(self, address: Address) -> Lane:
        lane = self._lanes.get(address)
        if lane is None:
            self._lanes[address] = lane = self._open_lane(address)
        return lane

    def moved(self, op: Op, problem: AskError) -> None:
        address = (problem.host, problem.port)
        op.asking = not isinstance(problem, MovedError)
        if not op.asking:
            self._owners[problem.slot_id] = address
            self._stale.set()
        self._lane(address).submit(op)

    def troubled(self) -> None:
        self._stale.set()

    async def keep(self) -> None:
        """Look anew whenever things seem to be elsewhere, until cancelled."""
        while True:
            await self._stale.wait()
            self._stale = anyio.Event()
            await self.look()
            await anyio.sleep(PAUSE)

    async def look(self) -> BaseException | None:
        """Ask the nodes, one after the other, where the slots are; why none could say it."""
        problem: BaseException | None = None
        for asked in dict.fromkeys((*self._lanes, *self._servers.nodes)):
            try:
                async with self._servers.connected(asked) as connection:
                    await connection.send_command("CLUSTER", "SLOTS")
                    found = await connection.read_response(timeout=self._servers.timeout)
                if found:
                    self._take(asked, found)
                    return None
                problem = ConnectionError(f"{self._servers.name(asked)} knows of no slots")
            except BROKEN as error:
                problem = error
        _log.warning("no node of the cluster says where its keys are: %s", problem)
        return problem

    def _take(self, asked: Address, found: list[Any]) -> None:
        owners: list[Address | None] = [None] * SLOTS
        for first, last, primary, *_ in found:
            host, port, *_ = primary
            # A node that does not know its own name means the one by which it was asked.
            address = (str_if_bytes(host) or asked[0], int(port))
            size = int(last) - int(first) + 1
            owners[int(first) : int(last) + 1] = [address] * size
        self._owners = owners
        there = set(owners)
        for address, lane in list(self._lanes.items()):
            for op in lane.take_back():
                (lane if op.asking else self).submit(op)
            if address not in there and lane.idle:
                self._lanes.pop(address).close()


def slot_of(key: Argument) -> int:
    return key_slot(key if isinstance(key, bytes) else str(key).encode())
