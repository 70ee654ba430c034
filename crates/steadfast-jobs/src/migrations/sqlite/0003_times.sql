-- How long a run may take, and from when on a job is late: said by what makes the job, such as a schedule.

-- The longest run, unless its kind says otherwise.
ALTER TABLE steadfast_job ADD COLUMN run_us_max INTEGER;
-- Who looks after schedules is told when it is live after this.
ALTER TABLE steadfast_job ADD COLUMN late_us INTEGER;

CREATE INDEX steadfast_job_late ON steadfast_job (late_us) WHERE late_us IS NOT NULL;

-- Also by time, so that what is held for too long is found without a look at the rest.
DROP INDEX steadfast_job_running_of;
CREATE INDEX steadfast_job_running_of ON steadfast_job (incarnation, claimed_us) WHERE state = 'running';
