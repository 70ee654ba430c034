-- What is known of jobs that have ended: enough to put them back to work as they were, for how long each kind
-- is kept, and which ends of runs were rejected.

ALTER TABLE steadfast_job_history ADD COLUMN unique_key TEXT;
ALTER TABLE steadfast_job_history ADD COLUMN unique_us INTEGER;
ALTER TABLE steadfast_job_history ADD COLUMN run_us_max INTEGER;

-- How long jobs of a kind are kept after their end, where that is not as for all. In the store, since a node
-- prunes also what it has no handler for.
CREATE TABLE steadfast_job_retention (
    kind           TEXT    NOT NULL PRIMARY KEY,
    completed_us   INTEGER NOT NULL,
    cancelled_us   INTEGER NOT NULL,
    discarded_us   INTEGER NOT NULL,
    quarantined_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Ends of runs that did not count: told under a term that the job no longer had.
CREATE TABLE steadfast_job_rejected (
    job_id         INTEGER NOT NULL,
    term           INTEGER NOT NULL,
    incarnation    INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    attempt        INTEGER NOT NULL,
    -- What the end would have made of the job.
    wanted         TEXT    NOT NULL,
    error          TEXT,
    noted_us       INTEGER NOT NULL,

    PRIMARY KEY (job_id, term)
) STRICT, WITHOUT ROWID;
CREATE INDEX steadfast_job_rejected_noted ON steadfast_job_rejected (noted_us, job_id);
