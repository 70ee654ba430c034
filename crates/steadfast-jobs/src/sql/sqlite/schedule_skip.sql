-- Notes occurrences that are left out, and why.
INSERT INTO steadfast_schedule_skip (schedule, first_us, last_us, count, reason, noted_us)
SELECT ?1, g.value->>0, g.value->>1, g.value->>2, g.value->>3, CAST(unixepoch('subsec') * 1000000 AS INTEGER)
FROM json_each(?2) AS g
WHERE true
ON CONFLICT (schedule, first_us, reason) DO NOTHING
