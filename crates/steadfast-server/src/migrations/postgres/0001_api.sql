-- Who may do what by the API, and who did. Times are microseconds since 1970.

-- Tokens of machines and people. Of a token only its hash is kept: it has 256 random bits, so nobody
-- can guess one from it.
CREATE TABLE {schema}.api_token (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text   NOT NULL,
    hash       text   NOT NULL UNIQUE,
    role       text   NOT NULL,
    created_us bigint NOT NULL,
    expires_us bigint NOT NULL,
    revoked_us bigint
);

-- Written before an action, completed after it: one without an outcome was cut off.
CREATE TABLE {schema}.api_audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us      bigint NOT NULL,
    actor      text   NOT NULL,
    action     text   NOT NULL,
    subject    text   NOT NULL,
    reason     text   NOT NULL,
    detail     text   NOT NULL,
    trace_id   text,
    outcome    text
);
