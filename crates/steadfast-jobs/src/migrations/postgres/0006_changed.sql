-- A number of what a schedule says, which an occurrence does not change: people are told by it whether what they have seen
-- is still so.
--
-- By a trigger, so that programs that are older count as well, and from one sequence, so that a schedule that is added under
-- the name of a deleted one never has a number that was seen.
CREATE SEQUENCE {schema}.schedule_changed;
-- Beyond all numbers that older programs have told, and go on to tell beside: theirs grow with each occurrence.
SELECT setval('{schema}.schedule_changed', 4294967296 + coalesce(max(revision), 0)) FROM {schema}.schedule;
ALTER TABLE {schema}.schedule ADD COLUMN changed bigint NOT NULL DEFAULT nextval('{schema}.schedule_changed');

CREATE FUNCTION {schema}.schedule_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed := nextval('{schema}.schedule_changed');
    RETURN NEW;
END
$$;

-- Of these columns alone: what moves a schedule on to its next due time sets none of them.
CREATE TRIGGER schedule_changes BEFORE UPDATE OF
    rule, zone, missed, overlap, jitter_us, start_deadline_us, queue, kind, payload, priority, max_attempts, limit_key,
    min_version, paused_us, paused_because
ON {schema}.schedule FOR EACH ROW EXECUTE FUNCTION {schema}.schedule_changes();
