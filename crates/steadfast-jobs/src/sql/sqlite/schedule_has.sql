-- Tells which of these nominal times of a schedule have a job that nobody has made by hand. By the primary key.
SELECT nominal_us FROM steadfast_schedule_occurrence
WHERE schedule = ?1 AND nominal_us IN (SELECT value FROM json_each(?2)) AND by_hand = 0
