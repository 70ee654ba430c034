-- Tokens that may do named actions, separated by spaces, instead of what a role may: their role is empty, which no
-- program knows that does not know the actions.
ALTER TABLE {schema}.api_token ADD COLUMN actions text;
