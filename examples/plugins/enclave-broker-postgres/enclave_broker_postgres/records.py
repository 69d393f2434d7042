"""The sessions themselves: making, finding, bounding and forgetting them."""

from __future__ import annotations

import time
from typing import Any

from enclave_broker_core.errors import (
    SessionExistsError,
    SessionNotFoundError,
    TooManySessionsError,
)
from enclave_broker_core.models import SessionRecord

from .connections import Connection
from .forms import of_record, of_text, to_record
from .ownership import Ownership

# Who is refused and came back at once would only be refused again.
SHORTEST_RETRY = 0.1
BATCH = 1_000

# Sessions are made one after the other: bounds hold, and numbers are in the order of creation.
OWNER = "SELECT owner FROM broker FOR UPDATE"
OPEN = "SELECT count(*), min(expires_at) FROM sessions WHERE ended_at IS NULL"
OF_PRINCIPAL = " AND principal = %s AND tenant IS NOT DISTINCT FROM %s"
CREATE = """
INSERT INTO sessions (id, principal, tenant, record, state, expires_at, ended_at, tool_calls)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
STATE = "record, state, ended_at, last_seq, tool_calls"
GET = f"SELECT {STATE} FROM sessions WHERE id = %s"
LIST = f"""
SELECT {STATE} FROM sessions WHERE number > %(number)s
AND (%(principal)s::bytea IS NULL OR principal = %(principal)s)
AND (%(tenant)s::bytea IS NULL OR tenant = %(tenant)s)
AND (%(ended)s OR ended_at IS NULL) ORDER BY number LIMIT %(limit)s
"""
NUMBER = """
SELECT number FROM sessions WHERE id = %(id)s
UNION ALL SELECT number FROM deleted WHERE id = %(id)s
"""
# So many at a time, of those that a broker left behind.
STILL_OPEN = f"""
SELECT {STATE} FROM sessions WHERE ended_at IS NULL ORDER BY number LIMIT %s
"""
# Who lists page by page may hold the id of one that is forgotten.
_FORGET = """
WITH gone AS (DELETE FROM sessions WHERE number IN ({which}) RETURNING id, number),
noted AS (
    INSERT INTO deleted (id, number) SELECT id, number FROM gone
    ON CONFLICT (id) DO UPDATE SET number = excluded.number
)
SELECT id FROM gone
"""
FORGET = _FORGET.format(which="SELECT number FROM sessions WHERE id = %s")
FORGET_DUE = _FORGET.format(
    which="SELECT number FROM sessions WHERE ended_at < %s ORDER BY ended_at LIMIT %s"
)
FORGET_FIRST = _FORGET.format(
    which="SELECT number FROM sessions WHERE end_place IS NOT NULL "
    "ORDER BY end_place DESC OFFSET %s"
)
TRIM = """
DELETE FROM deleted WHERE place <= (SELECT place FROM deleted ORDER BY place DESC OFFSET %s LIMIT 1)
"""


async def create(
    connection: Connection,
    record: SessionRecord,
    ownership: Ownership,
    *,
    max_open: int | None,
    max_of_principal: int | None,
) -> None:
    ownership.require(await (await connection.execute(OWNER)).fetchone())
    id = of_text(record.id)
    if await (await connection.execute(GET, (id,))).fetchone() is not None:
        raise SessionExistsError(f"the session id {record.id!r} is taken")
    principal, tenant = None, None
    if record.principal is not None:
        principal = of_text(record.principal.id)
        tenant = None if record.principal.tenant is None else of_text(record.principal.tenant)
        if max_of_principal is not None:
            cursor = await connection.execute(OPEN + OF_PRINCIPAL, (principal, tenant))
            whose = f" of {record.principal.id!r}"
            _require_room(await cursor.fetchone(), max_of_principal, whose)
    if max_open is not None:
        _require_room(await (await connection.execute(OPEN)).fetchone(), max_open, "")
    await connection.execute("DELETE FROM deleted WHERE id = %s", (id,))
    state = (record.state.value, record.expires_at, record.ended_at, record.tool_calls)
    await connection.execute(CREATE, (id, principal, tenant, of_record(record), *state))


def _require_room(row: tuple[Any, ...] | None, most: int, whose: str) -> None:
    """TooManySessionsError, with the time until the first of those that are open expires."""
    count, first = row or (0, None)
    if count >= most:
        raise TooManySessionsError(
            f"{count} sessions{whose} are open and at most {most} may be",
            retry_after=max(SHORTEST_RETRY, (first or 0.0) - time.time()),
        )


async def get(connection: Connection, session_id: str) -> SessionRecord | None:
    row = await (await connection.execute(GET, (of_text(session_id),))).fetchone()
    return None if row is None else to_record(row)


async def find(
    connection: Connection,
    *,
    principal_id: str | None,
    tenant: str | None,
    include_ended: bool,
    limit: int,
    after: str | None,
) -> list[SessionRecord]:
    number = 0
    if after is not None:
        row = await (await connection.execute(NUMBER, {"id": of_text(after)})).fetchone()
        if row is None:
            raise SessionNotFoundError(f"there is no session {after!r}")
        (number,) = row
    wanted = {
        "number": number,
        "principal": None if principal_id is None else of_text(principal_id),
        "tenant": None if tenant is None else of_text(tenant),
        "ended": include_ended,
        "limit": limit,
    }
    return [to_record(row) for row in await (await connection.execute(LIST, wanted)).fetchall()]


async def still_open(connection: Connection) -> list[SessionRecord]:
    """Up to ``BATCH`` sessions that have not ended."""
    return [
        to_record(row) for row in await (await connection.execute(STILL_OPEN, (BATCH,))).fetchall()
    ]


async def forget(connection: Connection, session_id: str, *, most_noted: int) -> bool:
    cursor = await connection.execute(FORGET, (of_text(session_id),))
    gone = await cursor.fetchone() is not None
    await connection.execute(TRIM, (most_noted,))
    return gone


async def forget_due(connection: Connection, before: float, *, most_noted: int) -> list[str]:
    """Up to ``BATCH`` that ended before: no transaction takes too long."""
    rows = await (await connection.execute(FORGET_DUE, (before, BATCH))).fetchall()
    await connection.execute(TRIM, (most_noted,))
    return [_name(row) for row in rows]


async def forget_first(connection: Connection, most: int) -> list[str]:
    """All but the ``most`` that ended last."""
    rows = await (await connection.execute(FORGET_FIRST, (most,))).fetchall()
    if rows:
        await connection.execute(TRIM, (most,))
    return [_name(row) for row in rows]


def _name(row: tuple[Any, ...]) -> str:
    id: bytes = row[0]
    return id.decode("utf-8", "surrogatepass")
