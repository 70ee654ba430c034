-- What is known of jobs that have ended: enough to put them back to work as they were, for how long each kind
-- is kept, and which ends of runs were rejected.

ALTER TABLE {schema}.job_history
    ADD COLUMN unique_key text,
    ADD COLUMN unique_us bigint,
    ADD COLUMN run_us_max bigint;

-- How long jobs of a kind are kept after their end, where that is not as for all. In the store, since a node
-- prunes also what it has no handler for.
CREATE TABLE {schema}.job_retention (
    kind           text   NOT NULL PRIMARY KEY,
    completed_us   bigint NOT NULL,
    cancelled_us   bigint NOT NULL,
    discarded_us   bigint NOT NULL,
    quarantined_us bigint NOT NULL
);

-- Ends of runs that did not count: told under a term that the job no longer had.
CREATE TABLE {schema}.job_rejected (
    job_id         bigint  NOT NULL,
    term           bigint  NOT NULL,
    incarnation    bigint  NOT NULL,
    kind           text    NOT NULL,
    attempt        integer NOT NULL,
    -- What the end would have made of the job.
    wanted         text    NOT NULL,
    error          text,
    noted_us       bigint  NOT NULL,

    PRIMARY KEY (job_id, term)
);
CREATE INDEX job_rejected_noted ON {schema}.job_rejected (noted_us, job_id);

CREATE OR REPLACE FUNCTION {schema}.complete_job(job_id bigint, job_term bigint, job_incarnation bigint, job_result json)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH ended AS (
        DELETE FROM {schema}.job AS j
        WHERE j.id = job_id AND j.term = job_term AND j.incarnation IS NOT DISTINCT FROM job_incarnation
        RETURNING j.*
    )
    INSERT INTO {schema}.job_history (
        id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
        claimed_us, created_us, finished_us, limit_key, min_version, trace_id, error, result, unique_key, unique_us,
        run_us_max
    )
    SELECT
        id, queue, kind, 'completed', priority, due_us, payload, attempt + 1, max_attempts, crashes, held, term,
        incarnation, claimed_us, created_us, {schema}.now_us(),
        limit_key, min_version, trace_id, error, job_result, unique_key, unique_us, run_us_max
    FROM ended;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the lease of job % under term % is lost', job_id, job_term
            USING ERRCODE = 'check_violation', CONSTRAINT = 'job_fence',
                HINT = 'another node has it, or it has ended; nothing of this transaction may stay';
    END IF;
END
$$;
