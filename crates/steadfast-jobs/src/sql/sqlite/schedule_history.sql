-- Gives what became of the occurrences of a schedule, the latest first, from before a time on.
SELECT nominal_us, last_us, count, reason, job_id, by_hand, ended_us
FROM (
    SELECT * FROM (
        SELECT o.nominal_us, o.nominal_us AS last_us, 1 AS count, NULL AS reason, o.job_id, o.by_hand, o.ended_us
        FROM steadfast_schedule_occurrence AS o
        WHERE o.schedule = ?1 AND o.nominal_us < ?2
        ORDER BY o.nominal_us DESC
        LIMIT ?3
    ) AS made
    UNION ALL
    SELECT * FROM (
        SELECT k.first_us, k.last_us, k.count, k.reason, NULL, 0, NULL
        FROM steadfast_schedule_skip AS k
        WHERE k.schedule = ?1 AND k.first_us < ?2
        ORDER BY k.first_us DESC
        LIMIT ?3
    ) AS skipped
) AS everything
ORDER BY nominal_us DESC, last_us DESC
LIMIT ?3
