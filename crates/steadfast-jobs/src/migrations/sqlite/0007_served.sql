-- From which queues a node claims, as it says itself: jobs of a queue that no node has said wait for ever.
CREATE TABLE steadfast_job_served (
    incarnation    INTEGER NOT NULL,
    queue          TEXT    NOT NULL,

    PRIMARY KEY (incarnation, queue)
) STRICT, WITHOUT ROWID;
