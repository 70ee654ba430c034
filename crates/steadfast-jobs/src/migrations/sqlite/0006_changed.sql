-- A number of what a schedule says, which an occurrence does not change: people are told by it whether what they have seen
-- is still so.
--
-- By triggers, so that programs that are older count as well, and from one counter, so that a schedule that is added under
-- the name of a deleted one never has a number that was seen.
CREATE TABLE steadfast_schedule_changed (last INTEGER NOT NULL) STRICT;
ALTER TABLE steadfast_schedule ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
-- Beyond all numbers that older programs have told, and go on to tell beside: theirs grow with each occurrence.
UPDATE steadfast_schedule SET changed = 4294967296 + rowid + (SELECT max(revision) FROM steadfast_schedule);
INSERT INTO steadfast_schedule_changed (last) SELECT coalesce(max(changed), 4294967296) FROM steadfast_schedule;

CREATE TRIGGER steadfast_schedule_added AFTER INSERT ON steadfast_schedule
BEGIN
    UPDATE steadfast_schedule_changed SET last = last + 1;
    UPDATE steadfast_schedule SET changed = (SELECT last FROM steadfast_schedule_changed) WHERE name = NEW.name;
END;

-- Of these columns alone: what moves a schedule on to its next due time sets none of them.
CREATE TRIGGER steadfast_schedule_changes AFTER UPDATE OF
    rule, zone, missed, overlap, jitter_us, start_deadline_us, queue, kind, payload, priority, max_attempts, limit_key,
    min_version, paused_us, paused_because
ON steadfast_schedule
BEGIN
    UPDATE steadfast_schedule_changed SET last = last + 1;
    UPDATE steadfast_schedule SET changed = (SELECT last FROM steadfast_schedule_changed) WHERE name = NEW.name;
END;
