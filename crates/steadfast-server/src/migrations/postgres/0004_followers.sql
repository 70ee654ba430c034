-- Processes that follow a line of revisions, and which one each has in force. Times are microseconds since 1970.
CREATE TABLE {schema}.policy_follower (
    namespace text   NOT NULL,
    base      text   NOT NULL,
    -- Tells processes apart: each draws one when it starts.
    process   bigint NOT NULL,
    revision  bigint NOT NULL,
    seen_us   bigint NOT NULL,
    PRIMARY KEY (namespace, base, process)
);
