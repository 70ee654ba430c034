-- Which file the ids were made from: a server is none, so it is taken for the one that asks.
SELECT $1::text
