-- How long a run may take, and from when on a job is late: said by what makes the job, such as a schedule.

ALTER TABLE {schema}.job
    -- The longest run, unless its kind says otherwise.
    ADD COLUMN run_us_max bigint,
    -- Who looks after schedules is told when it is live after this.
    ADD COLUMN late_us bigint;

CREATE INDEX job_late ON {schema}.job (late_us) WHERE late_us IS NOT NULL;

-- Also by time, so that what is held for too long is found without a look at the rest.
DROP INDEX {schema}.job_running_of;
CREATE INDEX job_running_of ON {schema}.job (incarnation, claimed_us) WHERE state = 'running';
