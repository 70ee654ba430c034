-- Gives queues by name, after one: those that operators speak of, and those with jobs that are due, run, or wait for a
-- place. Counts what is due and what runs of each, and tells since when the job is due that is first in line.
--
-- Steps from name to name along indexes by queue. What runs is in none: it is read up to a window, in which there is room
-- for all that nodes run at once. Counts stop at a cap, for each queue that has as many.
WITH RECURSIVE running AS MATERIALIZED (
    SELECT r.queue, count(*) AS jobs FROM (
        SELECT queue FROM steadfast_job INDEXED BY steadfast_job_running_of WHERE state = 'running' LIMIT ?4
    ) AS r
    GROUP BY r.queue
),
names (name, number) AS (
    SELECT ?1, 0
    UNION ALL
    SELECT (
        SELECT min(next.name) FROM (
            SELECT min(q.name) AS name FROM steadfast_job_queue AS q WHERE q.name > names.name
            UNION ALL
            SELECT min(j.queue) FROM steadfast_job AS j INDEXED BY steadfast_job_ready
            WHERE j.state = 'pending' AND j.crashes < 2 AND j.queue > names.name
            UNION ALL
            SELECT min(j.queue) FROM steadfast_job AS j INDEXED BY steadfast_job_suspect
            WHERE j.state = 'pending' AND j.crashes >= 2 AND j.queue > names.name
            UNION ALL
            SELECT min(j.queue) FROM steadfast_job AS j INDEXED BY steadfast_job_blocked
            WHERE j.blocked AND j.queue > names.name
            UNION ALL
            SELECT min(running.queue) FROM running WHERE running.queue > names.name
        ) AS next
    ), names.number + 1
    FROM names WHERE names.name IS NOT NULL AND names.number < ?2
)
SELECT
    names.name, q.paused_us, q.paused_because, q.max_running, q.max_running_per_key,
    (
        SELECT count(*) FROM (
            SELECT 1 FROM steadfast_job AS j INDEXED BY steadfast_job_ready
            WHERE j.state = 'pending' AND j.crashes < 2 AND j.queue = names.name
            UNION ALL
            SELECT 1 FROM steadfast_job AS j INDEXED BY steadfast_job_suspect
            WHERE j.state = 'pending' AND j.crashes >= 2 AND j.queue = names.name
            LIMIT ?3
        ) AS found
    ),
    min(coalesce(running.jobs, 0), ?3),
    (
        SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) - j.due_us FROM steadfast_job AS j INDEXED BY steadfast_job_ready
        WHERE j.state = 'pending' AND j.crashes < 2 AND j.queue = names.name ORDER BY j.rank_us, j.id LIMIT 1
    )
FROM names
LEFT JOIN steadfast_job_queue AS q ON q.name = names.name
LEFT JOIN running ON running.queue = names.name
WHERE names.number > 0 AND names.name IS NOT NULL
ORDER BY names.name
