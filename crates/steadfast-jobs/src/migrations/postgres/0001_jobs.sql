-- Jobs. Live ones are in a small table that nodes work on; what has ended is apart, so that five
-- million completed jobs change nothing for those that claim. Times are microseconds since 1970,
-- by the clock of the database.

CREATE SEQUENCE {schema}.job_id AS bigint;

CREATE TABLE {schema}.job (
    id             bigint   NOT NULL PRIMARY KEY DEFAULT nextval('{schema}.job_id'),
    queue          text     NOT NULL,
    kind           text     NOT NULL,
    state          text     NOT NULL,
    -- Higher is sooner. One step is worth a minute of waiting: `rank_us` is the order in which
    -- jobs are claimed, so that a low one is only ever passed by for so long.
    priority       smallint NOT NULL DEFAULT 0,
    due_us         bigint   NOT NULL,
    rank_us        bigint   NOT NULL GENERATED ALWAYS AS (due_us - priority * 60000000::bigint) STORED,
    payload        json     NOT NULL,
    -- Attempts that are spent. Crashes spend none; they are counted apart, since the last run that
    -- came to an end; `held` are those with this job as the only suspect of its process.
    attempt        integer  NOT NULL DEFAULT 0,
    max_attempts   integer  NOT NULL DEFAULT 20,
    crashes        integer  NOT NULL DEFAULT 0,
    held           integer  NOT NULL DEFAULT 0,
    -- The fence: grows with each claim and each rescue, and every write of a node carries it.
    term           bigint   NOT NULL DEFAULT 0,
    incarnation    bigint,
    claimed_us     bigint,
    created_us     bigint   NOT NULL,
    expires_us     bigint,
    -- Keeps others with the same key out: while it is live, or (`job_key`) for this long.
    unique_key     text,
    unique_us      bigint,
    limit_key      text,
    -- Held back because its key is at its limit.
    blocked        boolean  NOT NULL DEFAULT false,
    min_version    integer  NOT NULL DEFAULT 0,
    trace_id       text,
    -- Why somebody wants the run to stop.
    cancel         text,
    error          text,

    CONSTRAINT job_state CHECK (
        CASE state
            WHEN 'pending' THEN incarnation IS NULL AND claimed_us IS NULL AND cancel IS NULL AND NOT blocked
            WHEN 'running' THEN incarnation IS NOT NULL AND claimed_us IS NOT NULL AND NOT blocked
            WHEN 'waiting' THEN incarnation IS NULL AND claimed_us IS NULL AND cancel IS NULL
            ELSE false
        END
    ),
    CONSTRAINT job_attempts CHECK (attempt >= 0 AND attempt < max_attempts AND max_attempts <= 1000),
    CONSTRAINT job_priority CHECK (priority BETWEEN -100 AND 100),
    CONSTRAINT job_names CHECK (octet_length(queue) BETWEEN 1 AND 100 AND octet_length(kind) BETWEEN 1 AND 100)
) WITH (
    -- Rows live for seconds: dead ones are taken away early, and the pages stay, so that a plan
    -- that was made while the table was empty is still right when it is full.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000,
    vacuum_truncate = off
);

-- Claims read these in order. Suspects have one of their own, because a node takes them one by one.
CREATE INDEX job_ready ON {schema}.job (queue, rank_us, id) WHERE state = 'pending' AND crashes < 2;
CREATE INDEX job_suspect ON {schema}.job (queue, rank_us, id) WHERE state = 'pending' AND crashes >= 2;
-- What a node holds: rescue, and the node itself after a reply was lost.
CREATE INDEX job_running_of ON {schema}.job (incarnation) WHERE state = 'running';
-- What is due next.
CREATE INDEX job_waiting ON {schema}.job (due_us, id) WHERE state = 'waiting' AND NOT blocked;
CREATE INDEX job_blocked ON {schema}.job (queue, limit_key, rank_us, id) WHERE blocked;
CREATE INDEX job_limited ON {schema}.job (queue, limit_key) WHERE state = 'running' AND limit_key IS NOT NULL;
CREATE INDEX job_expires ON {schema}.job (expires_us) WHERE expires_us IS NOT NULL AND state <> 'running';
CREATE INDEX job_cancel ON {schema}.job (incarnation) WHERE cancel IS NOT NULL;
CREATE UNIQUE INDEX job_unique ON {schema}.job (unique_key) WHERE unique_key IS NOT NULL AND unique_us IS NULL;

-- The planner judges a table by its pages. These rows give it some, for ever (see above).
INSERT INTO {schema}.job (id, queue, kind, state, due_us, payload, created_us)
    SELECT -n, 'none', 'none', 'pending', 0, '{}', 0 FROM generate_series(1, 8000) AS n;
DELETE FROM {schema}.job;

CREATE TABLE {schema}.job_history (
    id             bigint   NOT NULL PRIMARY KEY,
    queue          text     NOT NULL,
    kind           text     NOT NULL,
    state          text     NOT NULL,
    priority       smallint NOT NULL,
    due_us         bigint   NOT NULL,
    payload        json     NOT NULL,
    attempt        integer  NOT NULL,
    max_attempts   integer  NOT NULL,
    crashes        integer  NOT NULL,
    held           integer  NOT NULL,
    term           bigint   NOT NULL,
    incarnation    bigint,
    claimed_us     bigint,
    created_us     bigint   NOT NULL,
    finished_us    bigint   NOT NULL,
    limit_key      text,
    min_version    integer  NOT NULL,
    trace_id       text,
    error          text,
    result         json,

    CONSTRAINT job_history_state CHECK (state IN ('completed', 'discarded', 'cancelled', 'quarantined')),
    CONSTRAINT job_history_attempts CHECK (attempt BETWEEN 0 AND max_attempts)
) WITH (
    autovacuum_vacuum_insert_scale_factor = 0.2
);

-- Lists, counts and pruning go along this one.
CREATE INDEX job_history_ended ON {schema}.job_history (state, finished_us, id);

-- Keys that keep others out for a period, also after their job has ended.
CREATE TABLE {schema}.job_key (
    key            text     NOT NULL PRIMARY KEY,
    job_id         bigint   NOT NULL,
    until_us       bigint   NOT NULL
);
CREATE INDEX job_key_until ON {schema}.job_key (until_us);

-- What operators say about queues. A queue without a row is neither paused nor limited.
CREATE TABLE {schema}.job_queue (
    name                text   NOT NULL PRIMARY KEY,
    paused_us        bigint,
    paused_because      text,
    max_running         integer,
    max_running_per_key integer,

    CONSTRAINT job_queue_limits CHECK (max_running > 0 AND max_running_per_key > 0)
);

-- Enqueues a job in the transaction of the caller, from any language and any trigger.
--
-- Options: queue, priority, delay_seconds, due_at, max_attempts, unique_key, unique_seconds,
-- limit_key, expires_in_seconds, min_version, trace_id. Gives the id: with a unique key that is
-- taken, that of the job that has it. It sends no NOTIFY, which would take group commit away
-- from everybody: nodes find the job at their next poll, within two seconds.
CREATE FUNCTION {schema}.enqueue(kind text, payload json DEFAULT '{}', options jsonb DEFAULT '{}')
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    now_us  CONSTANT bigint := {schema}.now_us();
    unknown CONSTANT text := (
        SELECT string_agg(name, ', ') FROM jsonb_object_keys(options) AS name
        WHERE name <> ALL ('{queue,priority,delay_seconds,due_at,max_attempts,unique_key,unique_seconds,limit_key,expires_in_seconds,min_version,trace_id}')
    );
    at_us   CONSTANT bigint := coalesce(
        (extract(epoch FROM (options->>'due_at')::timestamptz) * 1000000)::bigint,
        now_us + ((options->>'delay_seconds')::numeric * 1000000)::bigint,
        now_us
    );
    wanted  CONSTANT text := options->>'unique_key';
    seconds CONSTANT numeric := (options->>'unique_seconds')::numeric;
    made    bigint := nextval('{schema}.job_id');
    known   bigint;
BEGIN
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'steadfast.enqueue has no option %', unknown USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF seconds IS NOT NULL AND wanted IS NULL THEN
        RAISE EXCEPTION 'unique_seconds needs a unique_key' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF octet_length(payload::text) > 1048576 THEN
        RAISE EXCEPTION 'payload is larger than 1 MiB' USING ERRCODE = 'program_limit_exceeded';
    END IF;
    -- Whoever has the key may end between the look and the insert, a bounded number of times.
    FOR turn IN 1..10 LOOP
        IF seconds IS NOT NULL THEN
            INSERT INTO {schema}.job_key AS k (key, job_id, until_us)
            VALUES (wanted, made, now_us + (seconds * 1000000)::bigint)
            ON CONFLICT (key) DO UPDATE SET job_id = excluded.job_id, until_us = excluded.until_us
                WHERE k.until_us <= now_us;
            IF NOT FOUND THEN
                SELECT job_id INTO known FROM {schema}.job_key AS k WHERE k.key = wanted;
                IF known IS NOT NULL THEN
                    RETURN known;
                END IF;
                CONTINUE;
            END IF;
        END IF;
        INSERT INTO {schema}.job (
            id, queue, kind, state, priority, due_us, payload, max_attempts, created_us,
            expires_us, unique_key, unique_us, limit_key, min_version, trace_id
        ) VALUES (
            made, coalesce(options->>'queue', 'default'), enqueue.kind,
            CASE WHEN at_us <= now_us THEN 'pending' ELSE 'waiting' END,
            coalesce((options->>'priority')::smallint, 0::smallint), at_us, enqueue.payload,
            coalesce((options->>'max_attempts')::integer, 20), now_us,
            now_us + ((options->>'expires_in_seconds')::numeric * 1000000)::bigint,
            wanted, (seconds * 1000000)::bigint, options->>'limit_key',
            coalesce((options->>'min_version')::integer, 0), options->>'trace_id'
        ) ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND unique_us IS NULL DO NOTHING;
        IF FOUND THEN
            RETURN made;
        END IF;
        SELECT id INTO known FROM {schema}.job WHERE unique_key = wanted AND unique_us IS NULL;
        IF known IS NOT NULL THEN
            RETURN known;
        END IF;
    END LOOP;
    RAISE EXCEPTION 'the unique key % changes hands too fast', wanted USING ERRCODE = 'serialization_failure';
END
$$;

-- Completes a job in the transaction of its handler, or makes that transaction fail: a handler
-- whose lease is lost must not commit what it did.
CREATE FUNCTION {schema}.complete_job(job_id bigint, job_term bigint, job_incarnation bigint, job_result json)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH ended AS (
        DELETE FROM {schema}.job AS j
        WHERE j.id = job_id AND j.term = job_term AND j.incarnation IS NOT DISTINCT FROM job_incarnation
        RETURNING j.*
    )
    INSERT INTO {schema}.job_history (
        id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
        claimed_us, created_us, finished_us, limit_key, min_version, trace_id, result
    )
    SELECT
        id, queue, kind, 'completed', priority, due_us, payload, attempt + 1, max_attempts, crashes, held, term,
        incarnation, claimed_us, created_us, {schema}.now_us(),
        limit_key, min_version, trace_id, job_result
    FROM ended;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the lease of job % under term % is lost', job_id, job_term
            USING ERRCODE = 'check_violation', CONSTRAINT = 'job_fence',
                HINT = 'another node has it, or it has ended; nothing of this transaction may stay';
    END IF;
END
$$;
