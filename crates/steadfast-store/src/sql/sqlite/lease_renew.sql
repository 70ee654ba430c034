-- Renews a lease that is not over, by key. ?5 is the clock of the host. Nothing is returned when it is over.
UPDATE steadfast_lease SET until_boot_us = ?5 + ?4
WHERE name = ?1 AND holder = ?2 AND term = ?3 AND until_boot_us >= ?5
RETURNING term
