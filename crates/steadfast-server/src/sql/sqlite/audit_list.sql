-- Actions, the latest first, and how many microseconds ago each was noted, along the primary key.
SELECT id, at_us, actor, action, subject, reason, detail, trace_id, outcome,
    CAST(unixepoch('subsec') * 1000000 AS INTEGER) - at_us FROM steadfast_api_audit
WHERE id < ?1 ORDER BY id DESC LIMIT ?2
