-- Actions, the latest first, and how many microseconds ago each was noted, along the primary key.
SELECT id, at_us, actor, action, subject, reason, detail, trace_id, outcome, {schema}.now_us() - at_us FROM {schema}.api_audit
WHERE id < $1 ORDER BY id DESC LIMIT $2
