-- Gives one job, live or ended. By the primary keys.
SELECT
    id, queue, kind, state, priority::bigint, due_us, payload::text, attempt::bigint, max_attempts::bigint,
    crashes::bigint, term, incarnation, claimed_us, created_us, NULL::bigint AS finished_us, limit_key,
    trace_id, error, NULL::text AS result
FROM {schema}.job WHERE id = $1
UNION ALL
SELECT
    id, queue, kind, state, priority::bigint, due_us, payload::text, attempt::bigint, max_attempts::bigint,
    crashes::bigint, term, incarnation, claimed_us, created_us, finished_us, limit_key, trace_id, error,
    result::text
FROM {schema}.job_history WHERE id = $1
