"""Tells the clients of a broker when its catalog changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress

import anyio

from enclave_broker_core.broker import Broker
from enclave_broker_core.errors import BrokerError

from .seats import Seat


async def tell_of_changes(broker: Broker, seats: Callable[[], Iterable[Seat]]) -> None:
    """Have each seat look at the catalog whenever it has changed; what comes in between is one."""
    version = broker.catalog_version
    while True:
        version = await broker.catalog_change(version)
        async with anyio.create_task_group() as looking:
            for seat in list(seats()):
                looking.start_soon(_look, seat, broker)


async def _look(seat: Seat, broker: Broker) -> None:
    # Where the store or a policy fails, the client learns of it by its next request.
    with suppress(BrokerError):
        await seat.look_again(broker)
