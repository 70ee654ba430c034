-- Notes which revision a process has in force. Those of the namespace that have given no sign for $5 microseconds are taken
-- out along the way, along the primary key; whoever does the same at this moment is not waited for.
WITH silent AS (
    SELECT namespace, base, process FROM {schema}.policy_follower
    WHERE namespace = $1 AND seen_us <= {schema}.now_us() - $5 AND process <> $3
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM {schema}.policy_follower AS f USING silent AS s
    WHERE f.namespace = s.namespace AND f.base = s.base AND f.process = s.process
)
INSERT INTO {schema}.policy_follower (namespace, base, process, revision, seen_us)
VALUES ($1, $2, $3, $4, {schema}.now_us())
ON CONFLICT (namespace, base, process) DO UPDATE SET revision = excluded.revision, seen_us = excluded.seen_us
