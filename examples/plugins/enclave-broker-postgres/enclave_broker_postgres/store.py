"""The store: what of each promise is one transaction, and who is woken by it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import LiteralString

import anyio
import anyio.lowlevel
from enclave_broker_core.calls import CallRecord
from enclave_broker_core.errors import SessionLostError, SessionNotFoundError, StoreError
from enclave_broker_core.events import Draft, Event, final_error
from enclave_broker_core.models import Claim, RunStats, SessionRecord, SessionState

from . import claims, log, records
from .config import PostgresConfig
from .connections import Connection, Connections, Work
from .forms import of_text, to_call
from .log import Doubts
from .ownership import Ownership
from .waking import Turns, Wakes

# A waiter looks again no sooner than this when a key's time is as good as over.
SHORTEST_WAIT = 0.001


class PostgresStore:
    """A SessionStore on the tables of one schema, which this broker owns.

    What was begun is finished, also for who is cancelled: ``Connections.run`` shields it. Reading
    and appending are one trip to the server each.
    """

    def __init__(
        self, config: PostgresConfig, connections: Connections, ownership: Ownership
    ) -> None:
        self._config = config
        self._connections = connections
        self._ownership = ownership
        self._turns = Turns()
        self._doubts = Doubts()
        self._logged = Wakes()
        self._claimed = Wakes()

    async def create(
        self,
        record: SessionRecord,
        *,
        max_open: int | None = None,
        max_of_principal: int | None = None,
    ) -> None:
        bounds = {"max_open": max_open, "max_of_principal": max_of_principal}
        await self._connections.run(
            lambda connection: records.create(connection, record, self._ownership, **bounds)
        )

    async def get(self, session_id: str) -> SessionRecord | None:
        return await self._connections.run(
            lambda connection: records.get(connection, session_id), repeatable=True
        )

    async def list(
        self,
        *,
        principal_id: str | None = None,
        tenant: str | None = None,
        include_ended: bool = False,
        limit: int = 100,
        after: str | None = None,
    ) -> Sequence[SessionRecord]:
        find = partial(
            records.find,
            principal_id=principal_id,
            tenant=tenant,
            include_ended=include_ended,
            limit=limit,
            after=after,
        )
        return await self._connections.run(find, repeatable=True)

    async def append(self, session_id: str, event: Draft, call: CallRecord | None = None) -> int:
        async with self._turns.of(session_id):
            doubt = self._doubts.of(session_id, event)
            write = partial(
                log.append, session_id=session_id, doubt=doubt, call=call, config=self._config
            )
            try:
                seq = await self._connections.run(write, repeatable=True)
            except StoreError:
                raise  # the doubt stays
            except Exception:
                self._doubts.settle(session_id, event)
                raise
            finally:
                self._logged.wake(session_id)
            self._doubts.settle(session_id, event)
            return seq

    async def end(self, session_id: str, final: Draft, state: SessionState, at: float) -> bool:
        if not state.ended:
            raise ValueError(f"{state.value!r} is not the state of a session that has ended")
        async with self._turns.of(session_id):
            doubt = self._doubts.of(session_id, final)
            write = partial(
                log.end,
                session_id=session_id,
                doubt=doubt,
                state=state.value,
                at=at,
                config=self._config,
            )
            try:
                ended = await self._connections.run(write, repeatable=True)
            except StoreError:
                raise
            except Exception:
                self._doubts.settle(session_id, final)
                raise
            finally:
                self._logged.wake(session_id)
            self._doubts.settle(session_id, final)
        if ended:
            await self._forget_first()
        return ended

    async def read(
        self, session_id: str, from_seq: int = 1, *, limit: int = 1000, wait: float | None = None
    ) -> Sequence[Event]:
        look = partial(log.read, session_id=session_id, from_seq=from_seq, limit=limit)
        number, ended, found = await self._connections.run(look, repeatable=True)
        if not wait:
            return found
        first = number
        with anyio.move_on_after(wait):
            while not found and not ended:
                changed = self._logged.next(session_id)
                # Once more, for what came before there was anything to be woken by.
                number, ended, found = await self._connections.run(look, repeatable=True)
                if number != first:  # another session has got the id meanwhile
                    raise SessionNotFoundError(f"the session {session_id!r} has been deleted")
                if not found and not ended:
                    await changed.wait()
        return found

    async def history(self, session_id: str) -> Sequence[CallRecord]:
        async def look(connection: Connection) -> list[tuple[bytes | None]]:
            return await (await connection.execute(log.HISTORY, (of_text(session_id),))).fetchall()

        rows = await self._connections.run(look, repeatable=True)
        if not rows:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return [to_call(call) for (call,) in rows if call is not None]

    async def claim(
        self,
        session_id: str,
        key: str,
        fingerprint: str,
        *,
        seconds: float,
        wait: float | None = None,
    ) -> Claim:
        take = partial(
            claims.take,
            session_id=session_id,
            key=key,
            fingerprint=fingerprint,
            seconds=seconds,
            most=self._config.max_claims,
        )
        changed = self._claimed.next(session_id)
        number, claim, left = await self._take(take, session_id, key)
        take = partial(take, number=number)
        if wait:
            with anyio.move_on_after(wait):
                while claim.state == "pending":
                    with anyio.move_on_after(max(SHORTEST_WAIT, left)):
                        await changed.wait()
                    changed = self._claimed.next(session_id)
                    _, claim, left = await self._take(take, session_id, key)
        return claim

    async def settle(self, session_id: str, key: str, answer: bytes) -> None:
        values = (answer, of_text(session_id), of_text(key))
        await self._execute(claims.SETTLE, values)
        self._claimed.wake(session_id)

    async def release(self, session_id: str, key: str) -> None:
        await self._execute(claims.RELEASE, (of_text(session_id), of_text(key)))
        self._claimed.wake(session_id)

    async def delete(self, session_id: str) -> bool:
        forget = partial(records.forget, session_id=session_id, most_noted=self._config.max_ended)
        gone = await self._connections.run(forget)
        self._wake([session_id])
        return gone

    async def sweep(self, now: float) -> int:
        await self._ownership.keep()
        before, most = now - self._config.grace, self._config.max_ended
        count = 0
        while True:
            gone = await self._connections.run(
                lambda connection: records.forget_due(connection, before, most_noted=most)
            )
            self._wake(gone)
            count += len(gone)
            if len(gone) < records.BATCH:
                return count

    async def check(self) -> None:
        await self._ownership.keep()

    async def end_lost(self) -> None:
        """End what was open when its broker died: nobody goes on with it."""
        lost = SessionLostError("the broker that ran the session is gone")
        at = time.time()

        async def end_all(connection: Connection) -> int:
            left = await records.still_open(connection)
            for record in left:
                stats = RunStats(max(0.0, at - record.created_at), record.tool_calls, 0)
                doubt = Doubts().of(record.id, final_error(lost, stats))
                failed = SessionState.FAILED.value
                await log.end(connection, record.id, doubt, failed, at, self._config)
            return len(left)

        while await self._connections.run(end_all):
            pass
        await self._forget_first()

    async def _take(
        self, take: Work[tuple[int, Claim, float]], session_id: str, key: str
    ) -> tuple[int, Claim, float]:
        """One try to claim; who was cancelled meanwhile gives back what came of it."""
        number, claim, left = await self._connections.run(take)
        if claim.state == "new":
            try:
                await anyio.lowlevel.checkpoint_if_cancelled()
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self.release(session_id, key)
                raise
        return number, claim, left

    async def _execute(self, statement: LiteralString, values: tuple[object, ...]) -> None:
        async def execute(connection: Connection) -> None:
            await connection.execute(statement, values)

        await self._connections.run(execute, repeatable=True)

    async def _forget_first(self) -> None:
        most = self._config.max_ended
        self._wake(
            await self._connections.run(lambda connection: records.forget_first(connection, most))
        )

    def _wake(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            self._logged.wake(session_id)
            self._claimed.wake(session_id)
