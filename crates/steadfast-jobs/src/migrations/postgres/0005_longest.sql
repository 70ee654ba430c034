-- How long a node leaves a run alone, as it says itself: others take the job from it after that, alive or not, and their
-- programs may be older or newer.
CREATE TABLE {schema}.job_longest (
    incarnation    bigint  NOT NULL,
    kind           text    NOT NULL,
    -- How long a run may take.
    run_us         bigint  NOT NULL,
    -- Whether the kind says so; what the job says does not count then.
    is_fixed       boolean NOT NULL,
    -- How long the node waits on top of twice that.
    extra_us       bigint  NOT NULL,

    PRIMARY KEY (incarnation, kind)
);
