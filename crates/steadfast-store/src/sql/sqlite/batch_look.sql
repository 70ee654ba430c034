-- SQLite knows neither locks of rows nor replicas; who waits is in the queue of the writer.
SELECT 0, NULL, 0, 0, NULL
