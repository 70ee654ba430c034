-- Schedules, and what became of their occurrences. Times are microseconds since 1970.

CREATE TABLE steadfast_schedule (
    name           TEXT  NOT NULL PRIMARY KEY,
    -- When it runs, as text that its types read and write.
    rule           TEXT  NOT NULL,
    zone           TEXT  NOT NULL,
    missed         TEXT  NOT NULL,
    overlap        TEXT  NOT NULL,
    jitter_us      INTEGER NOT NULL DEFAULT 0,
    start_deadline_us INTEGER,
    -- The job that it makes.
    queue          TEXT  NOT NULL,
    kind           TEXT  NOT NULL,
    payload        TEXT  NOT NULL,
    priority       INTEGER NOT NULL DEFAULT 0,
    max_attempts   INTEGER NOT NULL DEFAULT 20,
    limit_key      TEXT,
    min_version    INTEGER NOT NULL DEFAULT 0,
    -- Grows with each change of the row: who changes it says which one was seen.
    revision       INTEGER NOT NULL DEFAULT 1,
    -- The next due time; the one that waits for a run to end; the last that was decided.
    next_us        INTEGER,
    queued_us      INTEGER,
    decided_us     INTEGER,
    -- When it is looked at next: the earlier of what is due and of asking whether the run has ended.
    look_us        INTEGER,
    paused_us      INTEGER,
    paused_because TEXT,
    created_us     INTEGER NOT NULL,
    updated_us     INTEGER NOT NULL,

    CONSTRAINT schedule_name CHECK (length(name) BETWEEN 1 AND 100),
    CONSTRAINT schedule_overlap CHECK (overlap IN ('allow', 'skip', 'queue_one', 'cancel_other')),
    CONSTRAINT schedule_paused CHECK ((paused_us IS NULL) = (paused_because IS NULL)),
    CONSTRAINT schedule_paused_waits CHECK (paused_us IS NULL OR (look_us IS NULL AND queued_us IS NULL))
) STRICT;

-- Nodes ask along this one what is due.
CREATE INDEX steadfast_schedule_look ON steadfast_schedule (look_us) WHERE paused_us IS NULL AND look_us IS NOT NULL;

-- One job for each schedule and nominal time. It stays when the schedule is deleted, so that one of the same
-- name makes no job again that was made.
CREATE TABLE steadfast_schedule_occurrence (
    schedule       TEXT   NOT NULL,
    nominal_us     INTEGER NOT NULL,
    -- 1 for one that somebody wanted now, whose nominal time is that of the wish.
    by_hand        INTEGER NOT NULL,
    job_id         INTEGER NOT NULL,
    made_us        INTEGER NOT NULL,
    -- When its job was found to have ended.
    ended_us       INTEGER,

    PRIMARY KEY (schedule, nominal_us, by_hand)
) STRICT;
CREATE INDEX steadfast_schedule_occurrence_ended ON steadfast_schedule_occurrence (schedule, ended_us);
CREATE INDEX steadfast_schedule_occurrence_job ON steadfast_schedule_occurrence (job_id);
CREATE INDEX steadfast_schedule_occurrence_made ON steadfast_schedule_occurrence (made_us);

-- Occurrences that became no job: from the first to the last, how many, and why.
CREATE TABLE steadfast_schedule_skip (
    schedule       TEXT   NOT NULL,
    first_us       INTEGER NOT NULL,
    last_us        INTEGER NOT NULL,
    count          INTEGER NOT NULL,
    reason         TEXT   NOT NULL,
    noted_us       INTEGER NOT NULL,

    PRIMARY KEY (schedule, first_us, reason),
    CONSTRAINT schedule_skip_order CHECK (first_us <= last_us AND count >= 1)
) STRICT;
CREATE INDEX steadfast_schedule_skip_noted ON steadfast_schedule_skip (noted_us);
