-- Ends runs and claims jobs: one round trip, one commit.
--
-- Ending is fenced: a row whose term or incarnation is another's is left alone. It goes by the primary key. It waits for no
-- row that somebody has locked, such as a handler that completes it in a transaction which hangs. Who locks or deletes a
-- row is its `xmax`; after a claim, which locks it first, that is also its `xmin`. Any other is somebody who has it, or
-- had: only of those rows is it asked which can be locked, as for all of them it would be a second write each. What
-- cannot is told to the node, which tries again.
-- Where statistics have seen the table empty, or a few rows in the thousands of pages that a backlog or a held snapshot
-- leaves, the planner takes a look-up for as slow as reading all pages of the index, or of the table, with all of their dead
-- entries. So it is told how to go about it:
-- - `= ANY (ARRAY[e.id])` is looked up as `= e.id` is, and gives no order to merge by, for which the index would be read.
-- - What each end fulfils (behind OFFSET, so that it is one filter) has it count on a single end: for twenty, the table.
-- - `IS NOT DISTINCT FROM` keeps it from the index of running jobs, and that the incarnation is one of the columns of `ends`
--   from counting on next to no rows where statistics know of no running job yet: it compared each with each end then.
-- - That the lists are sub-selects keeps it from counting them where it plans each time, as behind a pooler: for two thousand
--   ends it read through the table.
--
-- Claiming goes along `job_ready` from the floor given, locks what it takes and skips what others have locked, so that no
-- two nodes wait for each other. A node that was found dead claims nothing. Its time is from before the first look at any
-- row: what cannot be seen here was committed after it.
--
-- A row that crosses over to the program has it wait. So plain completions come as ids and terms alone ($2, $3), other
-- ends with all they have ($4 to $8); of what has ended only the number is told as long as it is all of them; and of
-- what is claimed those that are alike come as one row, but for payloads of more than 2,000 bytes, which together would
-- be too long for one.
--
-- Rows: (0, the time if the lease holds), (3, how many have ended), and if that is not all (1, id that has ended) and
-- (7, id of a run that is ours and locked by somebody);
-- (2, null, queue, kind, attempt, max_attempts, crashes, run_us_max, ids, terms, ranks, trace ids, payloads) for claimed
-- jobs, and (5, id, payload) for each of which the payload is null there.
WITH clock AS MATERIALIZED (
    SELECT {schema}.now_us() AS now_us
),
lease AS MATERIALIZED (
    SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS at_us
    FROM {schema}.node WHERE node.id = $1 AND node.ended_us IS NULL
),
ends AS MATERIALIZED (
    SELECT * FROM (
        SELECT e.id, e.term, 'completed' AS state, NULL::text AS error, NULL::text AS result, $1::bigint AS incarnation
        FROM unnest((SELECT $2::bigint[]), (SELECT $3::bigint[])) AS e (id, term)
        UNION ALL
        SELECT e.*, $1::bigint
        FROM unnest(
            (SELECT $4::bigint[]), (SELECT $5::bigint[]), (SELECT $6::text[]), (SELECT $7::text[]), (SELECT $8::text[])
        ) AS e (id, term, state, error, result)
        OFFSET 0
    ) AS e
    WHERE e.id > 0 AND e.term > 0 AND e.state > ''
),
ended AS (
    DELETE FROM {schema}.job AS j
    USING ends AS e
    WHERE j.id = ANY (ARRAY[e.id]) AND j.term = e.term AND j.incarnation IS NOT DISTINCT FROM e.incarnation
        AND (j.xmax IN ('0', j.xmin) OR j.id = ANY (ARRAY (
            SELECT l.id FROM ends AS f JOIN {schema}.job AS l ON l.id = ANY (ARRAY[f.id])
            WHERE l.term = f.term AND l.incarnation IS NOT DISTINCT FROM f.incarnation
                AND l.xmax NOT IN ('0', l.xmin)
            FOR UPDATE OF l SKIP LOCKED
        )))
    RETURNING j.id, j.queue, j.kind, j.priority, j.due_us, j.payload, j.attempt, j.max_attempts, j.crashes, j.held,
        j.term, j.incarnation, j.claimed_us, j.created_us, j.limit_key, j.min_version, j.trace_id, j.cancel, j.error,
        j.unique_key, j.unique_us, j.run_us_max, e.state AS end_state, e.error AS end_error, e.result AS end_result
),
kept AS (
    INSERT INTO {schema}.job_history (
        id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
        claimed_us, created_us, finished_us, limit_key, min_version, trace_id, error, result, unique_key, unique_us,
        run_us_max
    )
    SELECT
        id, queue, kind, end_state, priority, due_us, payload, attempt + 1, max_attempts, crashes, held, term,
        incarnation, claimed_us, created_us, clock.now_us, limit_key, min_version, trace_id,
        coalesce(end_error, CASE WHEN end_state = 'cancelled' THEN cancel END, error), end_result::json, unique_key,
        unique_us, run_us_max
    FROM ended, clock
    RETURNING id
),
claimed AS (
    UPDATE {schema}.job AS j
    SET state = 'running', term = j.term + 1, incarnation = $1, claimed_us = clock.now_us
    FROM clock
    WHERE j.ctid = ANY (ARRAY (
        SELECT ready.ctid
        FROM unnest($9::text[], $10::bigint[], $11::bigint[]) AS w (queue, want, floor_us)
        CROSS JOIN LATERAL (
            SELECT r.ctid FROM {schema}.job AS r
            WHERE r.queue = w.queue AND r.state = 'pending' AND r.crashes < 2 AND r.rank_us >= w.floor_us
                AND r.kind = ANY ($12::text[]) AND r.min_version <= $13
                AND (r.expires_us IS NULL OR r.expires_us > (SELECT now_us FROM clock))
            ORDER BY r.rank_us, r.id LIMIT w.want FOR UPDATE SKIP LOCKED
        ) AS ready
        WHERE EXISTS (SELECT 1 FROM lease) AND NOT EXISTS (
            SELECT 1 FROM {schema}.job_queue AS q
            WHERE q.name = w.queue
                AND (q.paused_us IS NOT NULL OR q.max_running IS NOT NULL OR q.max_running_per_key IS NOT NULL)
        )
    ))
    RETURNING j.id, j.term, j.queue, j.kind, j.payload::text AS payload, j.attempt, j.max_attempts, j.crashes, j.rank_us,
        j.trace_id, j.run_us_max
)
SELECT 0 AS what, (SELECT at_us FROM lease) AS id, NULL::text AS queue, NULL::text AS kind, NULL::bigint AS attempt,
    NULL::bigint AS max_attempts, NULL::bigint AS crashes, NULL::bigint AS run_us_max, NULL::bigint[] AS ids,
    NULL::bigint[] AS terms, NULL::bigint[] AS ranks, NULL::text[] AS trace_ids, NULL::text[] AS payloads
UNION ALL
SELECT 3, count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM kept
UNION ALL
SELECT 1, id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM kept
WHERE (SELECT count(*) FROM kept) < (SELECT count(*) FROM ends)
UNION ALL
SELECT 7, e.id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM ends AS e JOIN {schema}.job AS j ON j.id = ANY (ARRAY[e.id])
WHERE (SELECT count(*) FROM kept) < (SELECT count(*) FROM ends)
    AND j.term = e.term AND j.incarnation IS NOT DISTINCT FROM e.incarnation AND e.id NOT IN (SELECT id FROM kept)
UNION ALL
SELECT 2, NULL, queue, kind, attempt, max_attempts, crashes, run_us_max, array_agg(id), array_agg(term),
    array_agg(rank_us), array_agg(trace_id), array_agg(CASE WHEN octet_length(payload) <= 2000 THEN payload END)
FROM claimed GROUP BY queue, kind, attempt, max_attempts, crashes, run_us_max
UNION ALL
SELECT 5, id, payload, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM claimed
WHERE octet_length(payload) > 2000
