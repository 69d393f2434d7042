-- A file of version 1 with a little of everything, as that version wrote it. It never changes:
-- what newer versions make of it is what they make of the files of their users.
PRAGMA application_id = 1164862274;
CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied_at REAL NOT NULL) STRICT;
INSERT INTO migrations VALUES (1, 1764000000.0);
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    principal TEXT,
    tenant TEXT,
    expires_at REAL NOT NULL,
    ended_at REAL,
    state TEXT,
    record BLOB NOT NULL
) STRICT;
CREATE INDEX sessions_of ON sessions (principal, tenant, expires_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_open ON sessions (expires_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_ended ON sessions (ended_at, id) WHERE ended_at IS NOT NULL;
CREATE TABLE gone (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    cleared INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX gone_id ON gone (id, number);
CREATE INDEX gone_due ON gone (number) WHERE cleared = 0;
CREATE TABLE recent (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    payload BLOB NOT NULL,
    n INTEGER,
    call BLOB,
    arguments BLOB
) STRICT;
CREATE TABLE events (
    session INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE calls (
    session INTEGER NOT NULL,
    n INTEGER NOT NULL,
    call BLOB NOT NULL,
    arguments BLOB NOT NULL,
    PRIMARY KEY (session, n)
) STRICT, WITHOUT ROWID;
CREATE TABLE claims (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    key BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    expires_at REAL NOT NULL,
    settled INTEGER,
    answer BLOB,
    UNIQUE (session, key)
) STRICT;
CREATE INDEX claims_due ON claims (expires_at);
CREATE TABLE saved (session INTEGER PRIMARY KEY, state BLOB NOT NULL) STRICT;
CREATE TABLE answers (
    session INTEGER NOT NULL,
    call TEXT NOT NULL,
    answer BLOB NOT NULL,
    PRIMARY KEY (session, call)
) STRICT;
CREATE TABLE admissions (
    span INTEGER NOT NULL,
    id INTEGER NOT NULL,
    until REAL NOT NULL,
    calls BLOB NOT NULL,
    PRIMARY KEY (span, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE window_sets (id INTEGER PRIMARY KEY, windows TEXT NOT NULL) STRICT;
INSERT INTO sessions VALUES (1, 's_old', 'ada', 'acme', 4102444800.0, NULL, NULL, CAST(
    '{"id":"s_old","state":"running","created_at":1764000000.0,"expires_at":4102444800.0,"principal":{"id":"ada","tenant":"acme"},"durable":true}'
    AS BLOB));
INSERT INTO sessions VALUES (2, 's_done', NULL, NULL, 4102444800.0, 1764000009.5, 'completed', CAST(
    '{"id":"s_done","state":"running","created_at":1764000001.0,"expires_at":4102444800.0}' AS BLOB));
INSERT INTO gone VALUES (3, 's_gone', 1);
INSERT INTO events VALUES (1, 1, 'stdout', CAST('{"chunk":"one"}' AS BLOB));
INSERT INTO events VALUES (1, 2, 'stdout', CAST('{"chunk":"two"}' AS BLOB));
INSERT INTO events VALUES (2, 1, 'final', CAST('{"ok":true}' AS BLOB));
INSERT INTO calls VALUES (1, 1, CAST('["c_1","users:get","ok",null,1764000002.0,1764000002.5,"users:*"]' AS BLOB), CAST('{"id":1}' AS BLOB));
INSERT INTO recent VALUES (7, 1, 3, 'stdout', CAST('{"chunk":"three"}' AS BLOB), 2, CAST('["c_2","users:get","error","TOOL_ERROR",1764000003.0,1764000003.5,""]' AS BLOB), CAST('{"id":2}' AS BLOB));
INSERT INTO claims VALUES (5, 1, CAST('key' AS BLOB), CAST('print' AS BLOB), 4102444800.0, 1, CAST('answer' AS BLOB));
INSERT INTO saved VALUES (1, CAST('state' AS BLOB));
INSERT INTO answers VALUES (1, 'c_2', CAST('two' AS BLOB));
-- Two calls, at 4000000000.0 and at 4000000001.0, in a window of 1000000 s.
INSERT INTO admissions VALUES (20, 1, 4001048577.0, x'0000000065cded4101000000000000000000200065cded410100000000000000');
INSERT INTO window_sets VALUES (1, '[["global",3,1000000.0]]');
