-- Who may do what by the API, and who did. Times are microseconds since 1970.

-- Tokens of machines and people. Of a token only its hash is kept: it has 256 random bits, so nobody
-- can guess one from it.
CREATE TABLE steadfast_api_token (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL,
    hash       TEXT    NOT NULL UNIQUE,
    role       TEXT    NOT NULL,
    created_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    revoked_us INTEGER
) STRICT;

-- Written before an action, completed after it: one without an outcome was cut off.
CREATE TABLE steadfast_api_audit (
    id         INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_us      INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    trace_id   TEXT,
    outcome    TEXT
) STRICT;
