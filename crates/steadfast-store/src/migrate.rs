//! Migrations: numbered per package, hashed, locked, and up only.

use std::fmt::Write as _;

use crate::Statement;

/// What a package brings into the database: its tables, and what it asks of them.
///
/// A package makes one static of it, gives it to [`Store::migrate`](crate::Store::migrate) when it
/// starts, and to `testing::assert_prepares` in its tests.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// The name under which its migrations are counted, such as `jobs`. Never changed again.
    pub name: &'static str,
    /// Its migrations, in order, from [`migrations!`](crate::migrations).
    pub migrations: &'static [Migration],
    /// Its statements, from [`statements!`](crate::statements).
    pub statements: &'static [&'static Statement],
}

/// One step of the tables of a package.
///
/// Steps only go up, and are never edited once released: their hash is stored with them. Each must
/// leave the previous binary working: first *expand* (add a column that may be null, a table, an
/// index), then *move* in a later release, then *contract* in one after that. One that cannot is
/// marked `breaking`: nodes that do not know it refuse to run, with code SF-1104.
///
/// Each runs in one transaction, under a lock that all nodes share. On PostgreSQL nodes at work wait for
/// it less than a second: it waits for the lock of a table for 250 ms and has 750 ms for all it does, and
/// is tried again if it got in nobody's way by giving up. So it changes what a table *is*, and never goes
/// over its rows. The first steps of a package, whose tables nobody uses yet, may take longer.
///
/// **Indexes of tables that are in use** are a step of their own, marked `concurrent`. PostgreSQL builds
/// them while rows are written, outside of a transaction; what is left of one that was interrupted is
/// dropped and built anew. SQLite, which has no such, builds them in one transaction: who writes waits.
///
/// A step of indexes has nothing but `CREATE [UNIQUE] INDEX CONCURRENTLY IF NOT EXISTS name ON …;`, under
/// a name that was never used before, and `DROP INDEX CONCURRENTLY IF EXISTS {schema}.name;`.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    pub(crate) file: &'static str,
    breaking: bool,
    concurrent: bool,
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl Migration {
    /// Used by [`migrations!`](crate::migrations).
    #[doc(hidden)]
    pub const fn new(file: &'static str, sqlite: &'static str, postgres: &'static str) -> Self {
        Self {
            file,
            breaking: false,
            concurrent: false,
            sqlite,
            postgres,
        }
    }

    /// Has nodes that do not know it refuse to run.
    #[must_use]
    pub const fn breaking(self) -> Self {
        Self {
            breaking: true,
            ..self
        }
    }

    /// Has PostgreSQL build and drop its indexes while rows are written.
    #[must_use]
    pub const fn concurrent(self) -> Self {
        Self {
            concurrent: true,
            ..self
        }
    }

    /// Gives the number that its file begins with.
    ///
    /// # Panics
    /// When the name does not begin with a number: a mistake of the package that declares it.
    pub fn number(&self) -> i64 {
        self.file
            .split('_')
            .next()
            .and_then(|number| number.parse().ok())
            .expect("the file of a migration is named NNNN_what, such as 0001_tables")
    }

    /// Gives the name of its file, without the ending.
    pub fn name(&self) -> &'static str {
        self.file
    }

    /// Tells whether nodes that do not know it must refuse to run.
    pub fn is_breaking(&self) -> bool {
        self.breaking
    }

    /// Tells whether it has indexes alone, which PostgreSQL builds while rows are written.
    pub fn is_concurrent(&self) -> bool {
        self.concurrent
    }

    /// Gives the hash of its text for one database, as it is stored.
    pub(crate) fn hash(text: &str) -> String {
        let hash = hmac_sha256::Hash::hash(text.as_bytes());
        hash.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// Declares the migrations of a package, in order: `migrations!["0001_tables", "0002_by_time"
/// concurrent, "0003_drop_old" breaking]` is a `&'static [Migration]` of the files
/// `src/migrations/sqlite/0001_tables.sql`, `src/migrations/postgres/0001_tables.sql` and so on.
#[macro_export]
macro_rules! migrations {
    ($($file:literal $($how:ident)?),* $(,)?) => {
        &[$(
            $crate::Migration::new(
                $file,
                ::core::include_str!(::core::concat!(
                    ::core::env!("CARGO_MANIFEST_DIR"), "/src/migrations/sqlite/", $file, ".sql"
                )),
                ::core::include_str!(::core::concat!(
                    ::core::env!("CARGO_MANIFEST_DIR"), "/src/migrations/postgres/", $file, ".sql"
                )),
            )
            $(.$how())?
        ),*]
    };
}

/// A migration that the database has.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) hash: String,
    pub(crate) breaking: bool,
}

/// What is to be done so that a database fits a package.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing.
    Done,
    /// The migration with this index is next.
    Apply(usize),
    /// One that was applied has another text than ours.
    Edited { name: String },
    /// The database has a breaking one that we do not know.
    Newer { number: i64, name: String },
}

/// Decides what is next. `hashes` are those of `migrations`, in their order; `applied` is what the
/// database has of this package.
pub(crate) fn next(migrations: &[Migration], hashes: &[String], applied: &[Applied]) -> Step {
    for known in applied {
        let ours = migrations.iter().position(|m| m.number() == known.number);
        match ours {
            Some(ours) if hashes[ours] != known.hash => {
                return Step::Edited {
                    name: known.name.clone(),
                };
            }
            Some(_) => {}
            None if known.breaking => {
                return Step::Newer {
                    number: known.number,
                    name: known.name.clone(),
                };
            }
            None => {}
        }
    }
    let missing = migrations
        .iter()
        .position(|m| !applied.iter().any(|known| known.number == m.number()));
    missing.map_or(Step::Done, Step::Apply)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration::new("0001_one", "a", "a");
    const TWO: Migration = Migration::new("0002_two", "b", "b");

    fn applied(migration: Migration, breaking: bool) -> Applied {
        Applied {
            number: migration.number(),
            name: migration.name().to_owned(),
            hash: Migration::hash(migration.sqlite),
            breaking,
        }
    }

    fn step(ours: &[Migration], applied: &[Applied]) -> Step {
        let hashes: Vec<_> = ours.iter().map(|m| Migration::hash(m.sqlite)).collect();
        next(ours, &hashes, applied)
    }

    #[test]
    fn what_is_missing_is_applied_in_order() {
        assert!(matches!(step(&[ONE, TWO], &[]), Step::Apply(0)));
        assert!(matches!(
            step(&[ONE, TWO], &[applied(ONE, false)]),
            Step::Apply(1)
        ));
        assert!(matches!(
            step(&[ONE, TWO], &[applied(ONE, false), applied(TWO, false)]),
            Step::Done
        ));
    }

    #[test]
    fn a_newer_one_is_passed_over_unless_it_breaks_older_nodes() {
        let all = |breaking| [applied(ONE, false), applied(TWO, breaking)];

        assert!(matches!(step(&[ONE], &all(false)), Step::Done));
        assert!(matches!(
            step(&[ONE], &all(true)),
            Step::Newer { number: 2, .. }
        ));
    }

    #[test]
    fn one_that_was_edited_after_its_release_is_refused() {
        let edited = Migration::new("0001_one", "A", "A");

        assert!(matches!(
            step(&[edited], &[applied(ONE, false)]),
            Step::Edited { .. }
        ));
    }
}
