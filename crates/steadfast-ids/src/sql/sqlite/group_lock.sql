-- Gives the layout of a group. A transaction that writes is alone, so there is nothing to lock. By key.
SELECT layout, floor_ms FROM steadfast_id_group WHERE name = ?1
