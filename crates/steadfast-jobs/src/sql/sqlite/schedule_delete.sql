-- Deletes a schedule; gives a row if there was one. What it has made, and its history, stay.
DELETE FROM steadfast_schedule WHERE name = ?1 RETURNING revision
