-- Makes jobs pending whose time has come. Gives one row: how many, the microseconds until the
-- next one is due (null when there is none), and how many have a rank from more than half a second ago.
--
-- Along `job_waiting`, a bounded number, skipping what others have locked.
WITH clock AS MATERIALIZED (
    SELECT {schema}.now_us() AS now_us
),
due AS (
    UPDATE {schema}.job AS j SET state = 'pending'
    WHERE j.ctid = ANY (ARRAY (
        SELECT w.ctid FROM {schema}.job AS w
        WHERE w.state = 'waiting' AND NOT w.blocked AND w.due_us <= (SELECT now_us FROM clock)
        ORDER BY w.due_us, w.id LIMIT $1 FOR UPDATE SKIP LOCKED
    ))
    RETURNING j.rank_us
)
SELECT
    (SELECT count(*) FROM due),
    (
        SELECT w.due_us - clock.now_us FROM {schema}.job AS w, clock
        WHERE w.state = 'waiting' AND NOT w.blocked AND w.due_us > clock.now_us
        ORDER BY w.due_us, w.id LIMIT 1
    ),
    (SELECT count(*) FROM due, clock WHERE due.rank_us < clock.now_us - 500000)
