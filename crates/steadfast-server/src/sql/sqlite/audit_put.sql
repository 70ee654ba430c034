-- Notes an action before it is done.
INSERT INTO steadfast_api_audit (at_us, actor, action, subject, reason, detail, trace_id)
VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), ?1, ?2, ?3, ?4, ?5, ?6) RETURNING id
