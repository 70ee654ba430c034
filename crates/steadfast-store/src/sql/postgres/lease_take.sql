-- Takes a lease that is free, over, or this holder's own, by key. The term is drawn in any case: terms
-- grow, and need not be dense. $4 is the boot of the host and $5 its clock, which are not used here.
INSERT INTO {schema}.lease AS lease (name, term, holder, until_us)
SELECT $1, nextval('{schema}.lease_term'), $2, {schema}.now_us() + $3
WHERE $4::text IS NOT NULL AND $5::bigint IS NULL
ON CONFLICT (name) DO UPDATE
SET term = excluded.term, holder = excluded.holder, until_us = excluded.until_us
WHERE lease.until_us < {schema}.now_us() OR lease.holder = excluded.holder
RETURNING term
