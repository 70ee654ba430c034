-- Actions, the latest first, along the primary key.
SELECT id, at_us, actor, action, subject, reason, detail, trace_id, outcome FROM steadfast_api_audit
WHERE id < ?1 ORDER BY id DESC LIMIT ?2
