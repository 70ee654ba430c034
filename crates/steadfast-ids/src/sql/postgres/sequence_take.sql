-- The next value of a sequence: the first of as many numbers as its increment is. Locks no row, and is not undone
-- by anything.
SELECT nextval($1::text::regclass)
