-- Makes a group, if it is not there, and rows for its worker ids up to $3; gives its layout. Locks the row of
-- the group, so that many who start at once make the rows one after the other; by key.
WITH joined AS (
    INSERT INTO {schema}.id_group AS g (name, layout) VALUES ($1, $2)
    ON CONFLICT (name) DO UPDATE SET name = excluded.name
    RETURNING g.name, g.layout
), workers AS (
    INSERT INTO {schema}.id_worker (group_name, worker)
    SELECT joined.name, n FROM joined, generate_series(0::bigint, $3) AS n
    WHERE NOT EXISTS (SELECT FROM {schema}.id_worker AS w WHERE w.group_name = $1 AND w.worker = $3)
    ON CONFLICT DO NOTHING
)
SELECT layout FROM joined
