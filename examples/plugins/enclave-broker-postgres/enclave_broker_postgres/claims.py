"""The keys that are claimed in a session. Their times are by the server's clock."""

from __future__ import annotations

from enclave_broker_core.errors import SessionNotFoundError, TooManyClaimsError
from enclave_broker_core.models import Claim

from .connections import Connection
from .forms import of_text

NOW = "extract(epoch FROM clock_timestamp())::double precision"
RETRY_AFTER = 1.0

# What asks for a session's claims one after the other, so that one of many is told ``new``.
SESSION = "SELECT number FROM sessions WHERE id = %s FOR NO KEY UPDATE"
EXPIRE = f"DELETE FROM claims WHERE session = %s AND expires_at <= {NOW}"
CLAIM = f"""
SELECT fingerprint, answer, expires_at - {NOW} FROM claims WHERE session = %s AND key = %s
"""
COUNT = "SELECT count(*), count(settled) FROM claims WHERE session = %s"
MAKE_ROOM = """
DELETE FROM claims WHERE session = %(session)s AND key = (
    SELECT key FROM claims WHERE session = %(session)s AND settled IS NOT NULL
    ORDER BY settled LIMIT 1)
"""
INSERT = f"""
INSERT INTO claims (session, key, fingerprint, expires_at) VALUES (%s, %s, %s, {NOW} + %s)
"""
SETTLE = f"""
UPDATE claims SET answer = %s, settled = nextval('places')
WHERE session = (SELECT number FROM sessions WHERE id = %s) AND key = %s
AND answer IS NULL AND expires_at > {NOW}
"""
RELEASE = """
DELETE FROM claims
WHERE session = (SELECT number FROM sessions WHERE id = %s) AND key = %s AND answer IS NULL
"""


async def take(
    connection: Connection,
    session_id: str,
    key: str,
    fingerprint: str,
    *,
    seconds: float,
    most: int,
    number: int | None = None,
) -> tuple[int, Claim, float]:
    """The session's number, what came of claiming, and for how long the key is in use.

    ``number`` is the session's that is meant: while somebody waited another may have got the id.
    """
    row = await (await connection.execute(SESSION, (of_text(session_id),))).fetchone()
    if row is None or number not in (None, row[0]):
        raise SessionNotFoundError(f"there is no session {session_id!r}")
    (session,) = row
    await connection.execute(EXPIRE, (session,))
    row = await (await connection.execute(CLAIM, (session, of_text(key)))).fetchone()
    if row is not None:
        wanted, answer, left = row
        if wanted != of_text(fingerprint):
            return session, Claim("conflict"), left
        return session, Claim("pending") if answer is None else Claim("settled", answer), left
    row = await (await connection.execute(COUNT, (session,))).fetchone()
    held, settled = row or (0, 0)
    if held >= most:
        if not settled:
            raise TooManyClaimsError(
                f"{held} keys of the session are in use and none of them is done",
                retry_after=RETRY_AFTER,
            )
        await connection.execute(MAKE_ROOM, {"session": session})
    values = (session, of_text(key), of_text(fingerprint), seconds)
    await connection.execute(INSERT, values)
    return session, Claim("new"), seconds
