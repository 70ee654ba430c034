-- Says that this file is the one: a server is none, so there is nothing to say.
SELECT $1::text
