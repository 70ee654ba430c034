-- What all migrations are noted in. Not a migration itself, so it can only ever be made.
CREATE TABLE IF NOT EXISTS steadfast_migration (
    package TEXT NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    breaking INTEGER NOT NULL,
    applied_us INTEGER NOT NULL,
    PRIMARY KEY (package, number)
) STRICT, WITHOUT ROWID;
