-- Which token has made another: what it has made holds no longer than it, and is revoked with it. Nothing for those that were
-- made at the store.
ALTER TABLE {schema}.api_token ADD COLUMN made_by bigint;
