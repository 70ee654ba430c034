-- Schedules, and what became of their occurrences. Times are microseconds since 1970, by the clock of
-- the database.

CREATE TABLE {schema}.schedule (
    name           text  NOT NULL PRIMARY KEY,
    -- When it runs, as text that its types read and write.
    rule           text  NOT NULL,
    zone           text  NOT NULL,
    missed         text  NOT NULL,
    overlap        text  NOT NULL,
    jitter_us      bigint NOT NULL DEFAULT 0,
    start_deadline_us bigint,
    -- The job that it makes.
    queue          text  NOT NULL,
    kind           text  NOT NULL,
    payload        json  NOT NULL,
    priority       smallint NOT NULL DEFAULT 0,
    max_attempts   integer NOT NULL DEFAULT 20,
    limit_key      text,
    min_version    integer NOT NULL DEFAULT 0,
    -- Grows with each change of the row: who changes it says which one was seen.
    revision       bigint NOT NULL DEFAULT 1,
    -- The next due time; the one that waits for a run to end; the last that was decided.
    next_us        bigint,
    queued_us      bigint,
    decided_us     bigint,
    -- When it is looked at next: the earlier of what is due and of asking whether the run has ended.
    look_us        bigint,
    paused_us      bigint,
    paused_because text,
    created_us     bigint NOT NULL,
    updated_us     bigint NOT NULL,

    CONSTRAINT schedule_name CHECK (octet_length(name) BETWEEN 1 AND 100),
    CONSTRAINT schedule_overlap CHECK (overlap IN ('allow', 'skip', 'queue_one', 'cancel_other')),
    CONSTRAINT schedule_paused CHECK ((paused_us IS NULL) = (paused_because IS NULL)),
    CONSTRAINT schedule_paused_waits CHECK (paused_us IS NULL OR (look_us IS NULL AND queued_us IS NULL))
);

-- Nodes ask along this one what is due.
CREATE INDEX schedule_look ON {schema}.schedule (look_us) WHERE paused_us IS NULL AND look_us IS NOT NULL;

-- One job for each schedule and nominal time. It stays when the schedule is deleted, so that one of the same
-- name makes no job again that was made.
CREATE TABLE {schema}.schedule_occurrence (
    schedule       text   NOT NULL,
    nominal_us     bigint NOT NULL,
    -- 1 for one that somebody wanted now, whose nominal time is that of the wish.
    by_hand        bigint NOT NULL,
    job_id         bigint NOT NULL,
    made_us        bigint NOT NULL,
    -- When its job was found to have ended.
    ended_us       bigint,

    PRIMARY KEY (schedule, nominal_us, by_hand)
);
CREATE INDEX schedule_occurrence_ended ON {schema}.schedule_occurrence (schedule, ended_us);
CREATE INDEX schedule_occurrence_job ON {schema}.schedule_occurrence (job_id);
CREATE INDEX schedule_occurrence_made ON {schema}.schedule_occurrence (made_us);

-- Occurrences that became no job: from the first to the last, how many, and why.
CREATE TABLE {schema}.schedule_skip (
    schedule       text   NOT NULL,
    first_us       bigint NOT NULL,
    last_us        bigint NOT NULL,
    count          bigint NOT NULL,
    reason         text   NOT NULL,
    noted_us       bigint NOT NULL,

    PRIMARY KEY (schedule, first_us, reason),
    CONSTRAINT schedule_skip_order CHECK (first_us <= last_us AND count >= 1)
);
CREATE INDEX schedule_skip_noted ON {schema}.schedule_skip (noted_us);
