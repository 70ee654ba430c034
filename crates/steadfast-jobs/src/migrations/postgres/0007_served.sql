-- From which queues a node claims, as it says itself: jobs of a queue that no node has said wait for ever.
CREATE TABLE {schema}.job_served (
    incarnation    bigint  NOT NULL,
    queue          text    NOT NULL,

    PRIMARY KEY (incarnation, queue)
);
