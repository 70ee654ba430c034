-- Deletes what became of old occurrences; gives how many rows.
--
-- Along the indexes by time; leaves what others have locked.
WITH made AS (
    DELETE FROM {schema}.schedule_occurrence AS o WHERE (o.schedule, o.nominal_us, o.by_hand) IN (
        SELECT p.schedule, p.nominal_us, p.by_hand FROM {schema}.schedule_occurrence AS p
        WHERE p.made_us < {schema}.now_us() - $1 AND p.ended_us IS NOT NULL
        ORDER BY p.made_us
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
),
skipped AS (
    DELETE FROM {schema}.schedule_skip AS k WHERE (k.schedule, k.first_us, k.reason) IN (
        SELECT p.schedule, p.first_us, p.reason FROM {schema}.schedule_skip AS p
        WHERE p.noted_us < {schema}.now_us() - $1
        ORDER BY p.noted_us
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
)
SELECT (SELECT count(*) FROM made) + (SELECT count(*) FROM skipped)
