-- Notes ends of runs that did not count. Inserts only.
INSERT INTO {schema}.job_rejected (job_id, term, incarnation, kind, attempt, wanted, error, noted_us)
SELECT id, term, $7, kind, attempt::integer, wanted, error, {schema}.now_us()
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[])
    AS g (id, term, kind, attempt, wanted, error)
ON CONFLICT (job_id, term) DO NOTHING
