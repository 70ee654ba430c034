-- Gives one schedule, to be looked at.
SELECT
    s.name, s.rule, s.zone, s.missed, s.overlap, s.jitter_us, s.start_deadline_us, s.queue, s.kind, s.payload::text,
    s.priority::bigint, s.max_attempts::bigint, s.limit_key, s.min_version::bigint, s.revision, s.next_us, s.queued_us, s.decided_us,
    s.paused_us, s.paused_because, s.look_us, {schema}.now_us(), s.changed
FROM {schema}.schedule AS s
WHERE s.name = $1
