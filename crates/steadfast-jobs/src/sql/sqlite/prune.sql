-- Deletes what ended in one way long enough ago, of one kind, or of all that have no retention of their own (an
-- empty kind): looks at a bounded number of rows from (time, id) on, the oldest first. Gives one row: how many it
-- looked at, how many it deletes, and time and id of the last.
--
-- Along `steadfast_job_history_ended`. The answer is put together before the rows are gone.
WITH seen AS MATERIALIZED (
    SELECT
        o.finished_us, o.id,
        o.kind = ?2 OR (?2 = '' AND NOT EXISTS (
            SELECT 1 FROM steadfast_job_retention AS r WHERE r.kind = o.kind
        )) AS goes
    FROM steadfast_job_history AS o INDEXED BY steadfast_job_history_ended
    WHERE o.state = ?1 AND (o.finished_us, o.id) > (?4, ?5)
        AND o.finished_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?3
    ORDER BY o.finished_us, o.id LIMIT ?6
)
SELECT
    (SELECT count(*) FROM seen), (SELECT count(*) FROM seen WHERE goes),
    coalesce((SELECT finished_us FROM seen ORDER BY finished_us DESC, id DESC LIMIT 1), ?4),
    coalesce((SELECT id FROM seen ORDER BY finished_us DESC, id DESC LIMIT 1), ?5);

DELETE FROM steadfast_job_history
WHERE id IN (
    SELECT seen.id FROM (
        SELECT o.id, o.kind FROM steadfast_job_history AS o INDEXED BY steadfast_job_history_ended
        WHERE o.state = ?1 AND (o.finished_us, o.id) > (?4, ?5)
            AND o.finished_us <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) - ?3
        ORDER BY o.finished_us, o.id LIMIT ?6
    ) AS seen
    WHERE seen.kind = ?2 OR (?2 = '' AND NOT EXISTS (
        SELECT 1 FROM steadfast_job_retention AS r WHERE r.kind = seen.kind
    ))
)
