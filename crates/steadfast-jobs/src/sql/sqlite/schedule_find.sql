-- Gives one schedule, to be looked at.
SELECT
    s.name, s.rule, s.zone, s.missed, s.overlap, s.jitter_us, s.start_deadline_us, s.queue, s.kind, s.payload,
    s.priority, s.max_attempts, s.limit_key, s.min_version, s.revision, s.next_us, s.queued_us, s.decided_us,
    s.paused_us, s.paused_because, s.look_us, CAST(unixepoch('subsec') * 1000000 AS INTEGER), s.changed
FROM steadfast_schedule AS s
WHERE s.name = ?1
