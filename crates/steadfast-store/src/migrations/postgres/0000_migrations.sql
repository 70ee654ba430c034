-- What all migrations are noted in. Not a migration itself, so it can only ever be made.
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.migration (
    package text NOT NULL,
    number bigint NOT NULL,
    name text NOT NULL,
    hash text NOT NULL,
    breaking boolean NOT NULL,
    applied_us bigint NOT NULL,
    PRIMARY KEY (package, number)
);
