-- Completes a run in the transaction of its handler; raises when its lease is lost, so that the
-- transaction cannot commit.
SELECT {schema}.complete_job($1, $2, $3, $4::text::json)
