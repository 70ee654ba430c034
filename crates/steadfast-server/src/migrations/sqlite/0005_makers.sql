-- Which token has made another: what it has made holds no longer than it, and is revoked with it. Nothing for those that were
-- made at the store.
ALTER TABLE steadfast_api_token ADD COLUMN made_by INTEGER;
CREATE INDEX steadfast_api_token_made_by ON steadfast_api_token (made_by) WHERE made_by IS NOT NULL;
