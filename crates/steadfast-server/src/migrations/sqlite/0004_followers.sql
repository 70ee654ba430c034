-- Processes that follow a line of revisions, and which one each has in force. Times are microseconds since 1970.
CREATE TABLE steadfast_policy_follower (
    namespace TEXT    NOT NULL,
    base      TEXT    NOT NULL,
    -- Tells processes apart: each draws one when it starts.
    process   INTEGER NOT NULL,
    revision  INTEGER NOT NULL,
    seen_us   INTEGER NOT NULL,
    PRIMARY KEY (namespace, base, process)
) STRICT;
