-- Forgets writers that have not written for so long. A scan: there is one row for each writer of each process.
DELETE FROM {schema}.batch_writer WHERE written_us < {schema}.now_us() - $1
