-- What a sequence of PostgreSQL is like: how far apart its values are, whether it begins anew at its end, and its
-- least value. Nothing is returned when there is none of this name.
SELECT seqincrement, seqcycle, seqmin FROM pg_sequence WHERE seqrelid = to_regclass($1)
