-- Makes a group, if it is not there, and rows for its worker ids up to ?3; gives its layout. By key.
INSERT INTO steadfast_id_group (name, layout) VALUES (?1, ?2) ON CONFLICT DO NOTHING;
WITH RECURSIVE number (n) AS (
    SELECT 0
    WHERE NOT EXISTS (SELECT 1 FROM steadfast_id_worker WHERE group_name = ?1 AND worker = ?3)
    UNION ALL SELECT n + 1 FROM number WHERE n < ?3
)
INSERT INTO steadfast_id_worker (group_name, worker) SELECT ?1, n FROM number WHERE true ON CONFLICT DO NOTHING;
SELECT layout FROM steadfast_id_group WHERE name = ?1
