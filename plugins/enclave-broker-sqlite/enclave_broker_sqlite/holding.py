"""Which store holds which session, in the one process that has the file."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import anyio

from enclave_broker_core.errors import BrokerError
from enclave_broker_core.models import SessionRecord
from enclave_broker_core.store_abilities import Holder

_log = logging.getLogger(__name__)

# Sessions that are taken up at a time.
_AT_A_TIME = 8
_LONGEST_PAUSE = 60.0

OpenIds = Callable[[], Awaitable[Sequence[str]]]
Get = Callable[[str], Awaitable[SessionRecord | None]]


class Holders:
    """Sessions by who holds them; what nobody holds has been left open by a process before.

    A process has the file alone, so that nobody has to be believed to be alive: who stops to
    serve gives up what it holds, and who dies lets go of the file itself.
    """

    def __init__(self) -> None:
        self._held: dict[str, object] = {}
        self._creating: list[str] = []
        self._changed = anyio.Event()

    @property
    def changed(self) -> anyio.Event:
        """Is set when there may be more that nobody holds."""
        return self._changed

    def of(self, session_id: str) -> object | None:
        return self._held.get(session_id)

    @contextmanager
    def creating(self, session_id: str) -> Iterator[None]:
        """Until it is over the session is none that nobody holds, though the file may have it."""
        self._creating.append(session_id)
        try:
            yield
        finally:
            self._creating.remove(session_id)
            if self.free(session_id):
                # There may be one of that id which was left open, and was passed over.
                self.look_again()

    def free(self, session_id: str) -> bool:
        return session_id not in self._held and session_id not in self._creating

    def hold(self, session_id: str, by: object) -> None:
        self._held[session_id] = by

    def let_go(self, session_id: str) -> None:
        self._held.pop(session_id, None)

    def give_up(self, by: object) -> None:
        """All that it holds is free for others."""
        self._held = {id: one for id, one in self._held.items() if one is not by}
        self.look_again()

    def look_again(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()


class Taking:
    """Takes up for one store what nobody holds."""

    def __init__(
        self, holders: Holders, by: object, open_ids: OpenIds, get: Get, pause: float
    ) -> None:
        self._holders = holders
        self._by = by
        self._open_ids = open_ids
        self._get = get
        self._pause = pause
        self._turns = anyio.CapacityLimiter(_AT_A_TIME)

    async def serve(self, holder: Holder) -> None:
        """Until cancelled; then what this store holds is given up."""
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    changed = self._holders.changed
                    for session_id in await self._free():
                        self._holders.hold(session_id, self._by)
                        tasks.start_soon(self._take_up, session_id, holder)
                    await changed.wait()
        finally:
            self._holders.give_up(self._by)

    async def _free(self) -> Sequence[str]:
        """What nobody holds; asked for until the file can be read."""
        while True:
            try:
                found = await self._open_ids()
            except Exception as problem:
                _log.error("sessions that were left open are looked for again: %s", problem)
                await anyio.sleep(self._pause)
            else:
                return [id for id in found if self._holders.free(id)]

    async def _take_up(self, session_id: str, holder: Holder) -> None:
        """Offer a session again and again, until it is taken or is not there any more."""
        pause = self._pause
        while self._holders.of(session_id) is self._by:
            async with self._turns:
                try:
                    record = await self._get(session_id)
                    if record is None or record.state.ended:
                        self._holders.let_go(session_id)
                    else:
                        await holder.take_up(record)
                    return
                except BrokerError as problem:
                    _log.warning("session %s is taken up later: %s", session_id, problem)
                except Exception:
                    _log.exception("session %s is taken up later", session_id)
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
