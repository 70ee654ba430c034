-- How long a node leaves a run alone, as it says itself: others take the job from it after that, alive or not, and their
-- programs may be older or newer.
CREATE TABLE steadfast_job_longest (
    incarnation    INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    -- How long a run may take.
    run_us         INTEGER NOT NULL,
    -- Whether the kind says so; what the job says does not count then.
    is_fixed       INTEGER NOT NULL,
    -- How long the node waits on top of twice that.
    extra_us       INTEGER NOT NULL,

    PRIMARY KEY (incarnation, kind)
) STRICT, WITHOUT ROWID;
