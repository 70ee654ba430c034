-- Nobody: SQLite has no rows that wait to be cleaned up.
SELECT 0, '', '', '', ?1 LIMIT min(?2, 0)
