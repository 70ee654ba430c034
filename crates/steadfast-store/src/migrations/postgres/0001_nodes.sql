-- The clock that times of different hosts are compared by: microseconds since 1970.
CREATE FUNCTION {schema}.now_us() RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL SAFE
    AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;

-- One row for each life of a process. Nothing that a beat changes is indexed, and pages have room,
-- so that a beat is an update in place.
CREATE TABLE {schema}.node (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service text NOT NULL,
    version text NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    -- The host since it was last started, and the file that the process keeps locked there: who finds
    -- the file unlocked knows that the process is dead.
    boot text NOT NULL,
    lock text NOT NULL,
    started_us bigint NOT NULL,
    beat_us bigint NOT NULL,
    lease_until_us bigint NOT NULL,
    -- When it was ended, by itself or by others who found it dead; no beat is taken from then on. This
    -- is what other packages look at: whether a lease is over is judged by the store alone.
    ended_us bigint
) WITH (fillfactor = 50);

-- Terms of all leases come from one sequence: they grow even when rows are deleted in between.
CREATE SEQUENCE {schema}.lease_term;

CREATE TABLE {schema}.lease (
    name text PRIMARY KEY,
    term bigint NOT NULL,
    holder text NOT NULL,
    until_us bigint NOT NULL
) WITH (fillfactor = 50);
