-- Ends runs and claims jobs of one queue, in one transaction.
--
-- Ending is fenced: a row whose term or incarnation is another's is left alone. Claiming goes along
-- `steadfast_job_ready` from the floor given. A node that was found dead claims nothing.
--
-- A row that crosses over to the program costs more than what is done to it here. So plain completions come as
-- {id: term} (?2), which is not parsed row by row, other ends as [[id, term, state, error, result], …] (?3); of
-- what has ended only the number is told as long as it is all of them; and what is claimed comes as one array, but
-- for payloads of more than 2,000 bytes, which would make it too long.
--
-- Rows: (0, the time if the lease holds, else null), (3, how many have ended), and if that is not all (1, id that has ended);
-- (4, claimed jobs as [[id, term, kind, payload, attempt, max_attempts, crashes, rank_us, trace_id, run_us_max], …]),
-- (6, id, payload) for each of which the payload is null there. Payloads may be any bytes, whatever their type says.
SELECT 0, (
    SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM steadfast_node AS n WHERE n.id = ?1 AND n.ended_us IS NULL
);

INSERT INTO steadfast_job_history (
    id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
    claimed_us, created_us, finished_us, limit_key, min_version, trace_id, error, result, unique_key, unique_us,
    run_us_max
)
SELECT
    j.id, j.queue, j.kind, g.state, j.priority, j.due_us, j.payload, j.attempt + 1, j.max_attempts, j.crashes,
    j.held, j.term, j.incarnation, j.claimed_us, j.created_us, (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    j.limit_key, j.min_version, j.trace_id,
    coalesce(g.error, CASE WHEN g.state = 'cancelled' THEN j.cancel END, j.error), g.result, j.unique_key,
    j.unique_us, j.run_us_max
FROM (
    SELECT CAST(e.key AS INTEGER) AS id, e.value AS term, 'completed' AS state, NULL AS error, NULL AS result
    FROM json_each(?2) AS e
    UNION ALL
    SELECT e.value->>0, e.value->>1, e.value->>2, e.value->>3, e.value->>4 FROM json_each(?3) AS e
) AS g CROSS JOIN steadfast_job AS j
WHERE j.id = g.id AND j.term = g.term AND j.incarnation = ?1;

SELECT 3, changes();

SELECT 1, j.id FROM (
    SELECT CAST(e.key AS INTEGER) AS id, e.value AS term FROM json_each(?2) AS e
    UNION ALL
    SELECT e.value->>0, e.value->>1 FROM json_each(?3) AS e
) AS g CROSS JOIN steadfast_job AS j
WHERE (SELECT changes() < (SELECT count(*) FROM json_each(?2)) + (SELECT count(*) FROM json_each(?3)))
    AND j.id = g.id AND j.term = g.term AND j.incarnation = ?1;

DELETE FROM steadfast_job
WHERE id IN (
    SELECT j.id FROM json_each(?2) AS e CROSS JOIN steadfast_job AS j
    WHERE j.id = CAST(e.key AS INTEGER) AND j.term = e.value AND j.incarnation = ?1
    UNION ALL
    SELECT j.id FROM json_each(?3) AS e CROSS JOIN steadfast_job AS j
    WHERE j.id = e.value->>0 AND j.term = e.value->>1 AND j.incarnation = ?1
);

-- The time of a claim is later than that of every other which the node still holds something of, so that it tells
-- below what was claimed here.
UPDATE steadfast_job
SET state = 'running', term = term + 1, incarnation = ?1, claimed_us = (
    SELECT max(
        CAST(unixepoch('subsec') * 1000000 AS INTEGER),
        coalesce(
            1 + (
                SELECT max(o.claimed_us) FROM steadfast_job AS o INDEXED BY steadfast_job_running_of
                WHERE o.state = 'running' AND o.incarnation = ?1
            ),
            0
        )
    )
)
WHERE id IN (
    SELECT r.id FROM steadfast_job AS r INDEXED BY steadfast_job_ready
    WHERE r.queue = (?4->>'$[0][0]') AND r.state = 'pending' AND r.crashes < 2 AND r.rank_us >= (?4->>'$[0][2]')
        AND r.kind IN (SELECT value FROM json_each(?5)) AND r.min_version <= ?6
        AND (r.expires_us IS NULL OR r.expires_us > (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)))
        AND EXISTS (
            SELECT 1 FROM steadfast_node AS n
            WHERE n.id = ?1 AND n.ended_us IS NULL
        )
        AND NOT EXISTS (
            SELECT 1 FROM steadfast_job_queue AS q
            WHERE q.name = (?4->>'$[0][0]')
                AND (q.paused_us IS NOT NULL OR q.max_running IS NOT NULL OR q.max_running_per_key IS NOT NULL)
        )
    ORDER BY r.rank_us, r.id LIMIT coalesce(?4->>'$[0][1]', 0)
);

SELECT 4, json_group_array(json_array(
    j.id, j.term, j.kind, CASE WHEN octet_length(j.payload) <= 2000 THEN j.payload END, j.attempt, j.max_attempts,
    j.crashes, j.rank_us, j.trace_id, j.run_us_max
))
FROM steadfast_job AS j INDEXED BY steadfast_job_running_of
WHERE changes() > 0 AND j.state = 'running' AND j.incarnation = ?1 AND j.claimed_us = (
    SELECT max(o.claimed_us) FROM steadfast_job AS o INDEXED BY steadfast_job_running_of
    WHERE o.state = 'running' AND o.incarnation = ?1
);

SELECT 6, j.id, j.payload
FROM steadfast_job AS j INDEXED BY steadfast_job_running_of
WHERE changes() > 0 AND j.state = 'running' AND j.incarnation = ?1 AND j.claimed_us = (
    SELECT max(o.claimed_us) FROM steadfast_job AS o INDEXED BY steadfast_job_running_of
    WHERE o.state = 'running' AND o.incarnation = ?1
) AND octet_length(j.payload) > 2000
