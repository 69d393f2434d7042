"""The tables, and what their version is.

Names that callers choose are ``bytea``: PostgreSQL's ``text`` has no place for NUL.
"""

from __future__ import annotations

from enclave_broker_core.errors import StoreError

from .connections import Connection

VERSION = 1
CREATE = """
CREATE TABLE broker (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    owner uuid
);
CREATE TABLE sessions (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id bytea NOT NULL UNIQUE,
    principal bytea,
    tenant bytea,
    record bytea NOT NULL,
    state text NOT NULL,
    expires_at double precision NOT NULL,
    ended_at double precision,
    end_place bigint UNIQUE,
    last_seq bigint NOT NULL DEFAULT 0,
    tool_calls bigint NOT NULL
);
CREATE INDEX sessions_open ON sessions (principal, tenant, expires_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE TABLE events (
    session bigint REFERENCES sessions ON DELETE CASCADE,
    seq bigint,
    type text NOT NULL,
    payload bytea NOT NULL,
    token uuid NOT NULL,
    PRIMARY KEY (session, seq),
    UNIQUE (session, token)
);
CREATE TABLE calls (
    session bigint REFERENCES sessions ON DELETE CASCADE,
    place bigint,
    call bytea NOT NULL,
    PRIMARY KEY (session, place)
);
CREATE TABLE claims (
    session bigint REFERENCES sessions ON DELETE CASCADE,
    key bytea,
    fingerprint bytea NOT NULL,
    expires_at double precision NOT NULL,
    answer bytea,
    settled bigint,
    PRIMARY KEY (session, key)
);
CREATE INDEX claims_expire ON claims (expires_at);
CREATE TABLE deleted (
    place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id bytea NOT NULL UNIQUE,
    number bigint NOT NULL
);
-- Gives the places of ends and of settled claims.
CREATE SEQUENCE places;
"""


async def make_tables(connection: Connection, schema: str) -> None:
    """Make what is not there yet; StoreError for tables of a release to come.

    A later version has a step here for each version before it, in the same transaction.
    """
    async with connection.transaction():
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        cursor = await connection.execute("SELECT to_regclass('broker') IS NOT NULL")
        if await cursor.fetchone() == (False,):
            await connection.execute(CREATE)
            await connection.execute("INSERT INTO broker (version) VALUES (%s)", (VERSION,))
        cursor = await connection.execute("SELECT version FROM broker")
        row = await cursor.fetchone()
        if row is None or row[0] > VERSION:
            raise StoreError(
                f"the tables in schema {schema!r} have version {row and row[0]}, and this "
                f"enclave-broker-postgres knows none after {VERSION}: upgrade it"
            )
