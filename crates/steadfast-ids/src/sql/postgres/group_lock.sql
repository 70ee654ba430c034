-- Locks a group, so that nobody takes a worker id of it until the transaction ends; gives its layout. By key.
SELECT layout, floor_ms FROM {schema}.id_group WHERE name = $1 FOR UPDATE
