-- Notes an action before it is done.
INSERT INTO {schema}.api_audit (at_us, actor, action, subject, reason, detail, trace_id)
VALUES ({schema}.now_us(), $1, $2, $3, $4, $5, $6) RETURNING id
