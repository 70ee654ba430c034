-- Tells which of these nominal times of a schedule have a job that nobody has made by hand. By the primary key.
SELECT nominal_us FROM {schema}.schedule_occurrence
WHERE schedule = $1 AND nominal_us = ANY ($2::bigint[]) AND by_hand = 0
