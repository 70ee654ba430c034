-- Takes out what is held for a field, by key; tells whether it was not over.
DELETE FROM {schema}.policy_override WHERE namespace = $1 AND base = $2 AND path = $3
RETURNING CASE WHEN until_us > {schema}.now_us() THEN 1::bigint ELSE 0::bigint END
