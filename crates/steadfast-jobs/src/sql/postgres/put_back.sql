-- Puts runs that have ended back to work: retried, snoozed, or handed back. One that somebody wanted to stop
-- meanwhile ends as cancelled instead. Gives (id, whether it is cancelled), and (id, 2) for a run that is ours and
-- locked by somebody, such as its handler in a transaction that hangs: no other end waits for that.
--
-- Fenced as `exchange` is, with its lists. Each looks up its row by itself, so that nothing that statistics say has the table
-- read through, and writes it at its place. A run that came to an end clears the crashes: its process lived. The rows are
-- locked first, so that a wish to stop comes before or after; one that came since this began has made a row that cannot be
-- seen here, which is told as locked.
WITH clock AS MATERIALIZED (
    SELECT {schema}.now_us() AS now_us
),
given AS MATERIALIZED (
    SELECT b.*, $7::bigint AS incarnation
    FROM unnest(
        (SELECT $1::bigint[]), (SELECT $2::bigint[]), (SELECT $3::bigint[]), (SELECT $4::boolean[]),
        (SELECT $5::boolean[]), (SELECT $6::text[])
    ) AS b (id, term, delay_us, spent, ended, error)
),
ours AS MATERIALIZED (
    SELECT b.*, o.place, o.stops FROM given AS b CROSS JOIN LATERAL (
        SELECT j.ctid AS place, j.cancel IS NOT NULL AS stops FROM {schema}.job AS j
        WHERE j.id = b.id AND j.term = b.term AND j.incarnation IS NOT DISTINCT FROM b.incarnation
        LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS o
),
back AS (
    UPDATE {schema}.job AS j
    SET state = CASE WHEN b.delay_us > 0 THEN 'waiting' ELSE 'pending' END,
        due_us = CASE WHEN b.ended THEN clock.now_us + b.delay_us ELSE j.due_us END,
        attempt = j.attempt + CASE WHEN b.spent THEN 1 ELSE 0 END,
        crashes = CASE WHEN b.ended THEN 0 ELSE j.crashes END,
        held = CASE WHEN b.ended THEN 0 ELSE j.held END,
        error = coalesce(b.error, j.error),
        incarnation = NULL, claimed_us = NULL
    FROM clock, ours AS b
    WHERE NOT b.stops AND j.ctid = b.place AND j.id = ANY (ARRAY[b.id]) AND j.term = b.term
        AND j.incarnation IS NOT DISTINCT FROM b.incarnation
    RETURNING j.id
),
over AS (
    DELETE FROM {schema}.job AS j USING ours AS b
    WHERE b.stops AND j.ctid = b.place AND j.id = ANY (ARRAY[b.id]) AND j.term = b.term
        AND j.incarnation IS NOT DISTINCT FROM b.incarnation
    RETURNING j.*, b.spent
),
kept AS (
    INSERT INTO {schema}.job_history (
        id, queue, kind, state, priority, due_us, payload, attempt, max_attempts, crashes, held, term, incarnation,
        claimed_us, created_us, finished_us, limit_key, min_version, trace_id, error, unique_key, unique_us, run_us_max
    )
    SELECT
        id, queue, kind, 'cancelled', priority, due_us, payload, attempt + CASE WHEN spent THEN 1 ELSE 0 END,
        max_attempts, crashes, held, term, incarnation, claimed_us, created_us, clock.now_us, limit_key, min_version,
        trace_id, cancel, unique_key, unique_us, run_us_max
    FROM over, clock
    RETURNING id
)
SELECT id, 0::bigint FROM back
UNION ALL
SELECT id, 1::bigint FROM kept
UNION ALL
SELECT b.id, 2::bigint FROM given AS b CROSS JOIN LATERAL (
    SELECT 1 FROM {schema}.job AS j
    WHERE j.id = b.id AND j.term = b.term AND j.incarnation IS NOT DISTINCT FROM b.incarnation
    LIMIT 1
) AS o
WHERE b.id NOT IN (SELECT id FROM back UNION ALL SELECT id FROM kept)
