-- Gives the kinds that have a retention of their own: a row for each.
SELECT kind, completed_us, cancelled_us, discarded_us, quarantined_us FROM {schema}.job_retention ORDER BY kind LIMIT $1
