-- Notes occurrences that are left out, and why.
INSERT INTO {schema}.schedule_skip (schedule, first_us, last_us, count, reason, noted_us)
SELECT $1, g.first_us, g.last_us, g.count, g.reason, {schema}.now_us()
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) AS g (first_us, last_us, count, reason)
ON CONFLICT (schedule, first_us, reason) DO NOTHING
