-- Takes ?2 numbers in a row from a tag, by key; gives the first. Nothing is returned when there are not so
-- many left. ?3 is where a new tag begins.
INSERT INTO steadfast_id_segment AS s (tag, next) VALUES (?1, ?3 + ?2)
ON CONFLICT (tag) DO UPDATE SET next = s.next + ?2 WHERE s.next <= 9223372036854775807 - ?2
RETURNING next - ?2
