-- Jobs. Live ones are in a small table that nodes work on; what has ended is apart, so that five
-- million completed jobs change nothing for those that claim. Times are microseconds since 1970.

CREATE TABLE steadfast_job (
    -- Ids are never given twice: the history has them, too.
    id             INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    queue          TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    -- Higher is sooner. One step is worth a minute of waiting: `rank_us` is the order in which
    -- jobs are claimed, so that a low one is only ever passed by for so long.
    priority       INTEGER NOT NULL DEFAULT 0,
    due_us         INTEGER NOT NULL,
    rank_us        INTEGER NOT NULL GENERATED ALWAYS AS (due_us - priority * 60000000) STORED,
    payload        TEXT    NOT NULL,
    -- Attempts that are spent. Crashes spend none; they are counted apart, since the last run that
    -- came to an end; `held` are those with this job as the only suspect of its process.
    attempt        INTEGER NOT NULL DEFAULT 0,
    max_attempts   INTEGER NOT NULL DEFAULT 20,
    crashes        INTEGER NOT NULL DEFAULT 0,
    held           INTEGER NOT NULL DEFAULT 0,
    -- The fence: grows with each claim and each rescue, and every write of a node carries it.
    term           INTEGER NOT NULL DEFAULT 0,
    incarnation    INTEGER,
    claimed_us     INTEGER,
    created_us     INTEGER NOT NULL,
    expires_us     INTEGER,
    -- Keeps others with the same key out: while it is live, or (`steadfast_job_key`) for this long.
    unique_key     TEXT,
    unique_us      INTEGER,
    limit_key      TEXT,
    -- Held back because its key is at its limit.
    blocked        INTEGER NOT NULL DEFAULT 0,
    min_version    INTEGER NOT NULL DEFAULT 0,
    trace_id       TEXT,
    -- Why somebody wants the run to stop.
    cancel         TEXT,
    error          TEXT,

    CONSTRAINT job_state CHECK (
        CASE state
            WHEN 'pending' THEN incarnation IS NULL AND claimed_us IS NULL AND cancel IS NULL AND NOT blocked
            WHEN 'running' THEN incarnation IS NOT NULL AND claimed_us IS NOT NULL AND NOT blocked
            WHEN 'waiting' THEN incarnation IS NULL AND claimed_us IS NULL AND cancel IS NULL
            ELSE 0
        END
    ),
    CONSTRAINT job_attempts CHECK (attempt >= 0 AND attempt < max_attempts AND max_attempts <= 1000),
    CONSTRAINT job_priority CHECK (priority BETWEEN -100 AND 100),
    CONSTRAINT job_names CHECK (length(queue) BETWEEN 1 AND 100 AND length(kind) BETWEEN 1 AND 100)
) STRICT;

-- Claims read these in order. Suspects have one of their own, because a node takes them one by one.
CREATE INDEX steadfast_job_ready ON steadfast_job (queue, rank_us, id) WHERE state = 'pending' AND crashes < 2;
CREATE INDEX steadfast_job_suspect ON steadfast_job (queue, rank_us, id) WHERE state = 'pending' AND crashes >= 2;
-- What a node holds: rescue, and the node itself after a reply was lost.
CREATE INDEX steadfast_job_running_of ON steadfast_job (incarnation) WHERE state = 'running';
-- What is due next.
CREATE INDEX steadfast_job_waiting ON steadfast_job (due_us, id) WHERE state = 'waiting' AND NOT blocked;
CREATE INDEX steadfast_job_blocked ON steadfast_job (queue, limit_key, rank_us, id) WHERE blocked;
CREATE INDEX steadfast_job_limited ON steadfast_job (queue, limit_key) WHERE state = 'running' AND limit_key IS NOT NULL;
CREATE INDEX steadfast_job_expires ON steadfast_job (expires_us) WHERE expires_us IS NOT NULL AND state <> 'running';
CREATE INDEX steadfast_job_cancel ON steadfast_job (incarnation) WHERE cancel IS NOT NULL;
CREATE UNIQUE INDEX steadfast_job_unique ON steadfast_job (unique_key) WHERE unique_key IS NOT NULL AND unique_us IS NULL;

CREATE TABLE steadfast_job_history (
    id             INTEGER NOT NULL PRIMARY KEY,
    queue          TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    priority       INTEGER NOT NULL,
    due_us         INTEGER NOT NULL,
    payload        TEXT    NOT NULL,
    attempt        INTEGER NOT NULL,
    max_attempts   INTEGER NOT NULL,
    crashes        INTEGER NOT NULL,
    held           INTEGER NOT NULL,
    term           INTEGER NOT NULL,
    incarnation    INTEGER,
    claimed_us     INTEGER,
    created_us     INTEGER NOT NULL,
    finished_us    INTEGER NOT NULL,
    limit_key      TEXT,
    min_version    INTEGER NOT NULL,
    trace_id       TEXT,
    error          TEXT,
    result         TEXT,

    CONSTRAINT job_history_state CHECK (state IN ('completed', 'discarded', 'cancelled', 'quarantined')),
    CONSTRAINT job_history_attempts CHECK (attempt BETWEEN 0 AND max_attempts)
) STRICT;

-- Lists, counts and pruning go along this one.
CREATE INDEX steadfast_job_history_ended ON steadfast_job_history (state, finished_us, id);

-- Keys that keep others out for a period, also after their job has ended.
CREATE TABLE steadfast_job_key (
    key            TEXT    NOT NULL PRIMARY KEY,
    job_id         INTEGER NOT NULL,
    until_us       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX steadfast_job_key_until ON steadfast_job_key (until_us);

-- What operators say about queues. A queue without a row is neither paused nor limited.
CREATE TABLE steadfast_job_queue (
    name                TEXT NOT NULL PRIMARY KEY,
    paused_us           INTEGER,
    paused_because      TEXT,
    max_running         INTEGER,
    max_running_per_key INTEGER,

    CONSTRAINT job_queue_limits CHECK (max_running > 0 AND max_running_per_key > 0)
) STRICT;

-- A row that is added here and does not name a lease that holds takes its whole transaction back:
-- a handler whose lease is lost must not commit what it did.
CREATE TABLE steadfast_job_fence (
    id             INTEGER NOT NULL,
    term           INTEGER NOT NULL,
    incarnation    INTEGER NOT NULL
) STRICT;
CREATE TRIGGER steadfast_job_fence_holds BEFORE INSERT ON steadfast_job_fence
WHEN NOT EXISTS (
    SELECT 1 FROM steadfast_job AS j WHERE j.id = NEW.id AND j.term = NEW.term AND j.incarnation = NEW.incarnation
)
BEGIN
    SELECT RAISE(ROLLBACK, 'the lease of the job is lost');
END;
