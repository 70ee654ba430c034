-- Takes a lease that is free, over, or this holder's own, by key. The term is drawn in any case: terms
-- grow, and need not be dense. ?4 says which start of the host it is, ?5 is its clock.
UPDATE steadfast_lease_term SET last = last + 1;
INSERT INTO steadfast_lease AS lease (name, term, holder, boot, until_boot_us)
SELECT ?1, last, ?2, ?4, ?5 + ?3 FROM steadfast_lease_term WHERE true
ON CONFLICT (name) DO UPDATE
SET term = excluded.term, holder = excluded.holder, boot = excluded.boot, until_boot_us = excluded.until_boot_us
WHERE lease.until_boot_us < ?5 OR lease.boot <> ?4 OR lease.holder = excluded.holder
RETURNING term
