//! Every statement of a package, tried against its tables.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Database, Kind};
use crate::Package;
use crate::schema::indexes::{self, Change};
use crate::store::Backend;

/// Makes sure that a package fits its databases: all its migrations apply, each of its statements
/// can be prepared against the tables that they make, is one statement on PostgreSQL, and has a
/// file on both sides; that no file in `src/sql` is left out; and that no migration of PostgreSQL builds
/// an index in the way of those who write. `manifest_dir` is `env!("CARGO_MANIFEST_DIR")` of the package.
///
/// # Panics
/// When anything of that is not so, with all that was found.
///
/// # Examples
/// ```text
/// #[tokio::test(flavor = "multi_thread")]
/// async fn every_statement_prepares() {
///     steadfast_store::testing::assert_prepares(&PACKAGE, env!("CARGO_MANIFEST_DIR")).await;
/// }
/// ```
pub async fn assert_prepares(package: &Package, manifest_dir: &str) {
    let mut found = Vec::new();
    let names: BTreeSet<_> = package
        .statements
        .iter()
        .map(|s| s.name.to_owned())
        .collect();
    for dialect in ["sqlite", "postgres"] {
        let folder = Path::new(manifest_dir).join("src/sql").join(dialect);
        let files = files(&folder);
        for missing in names.difference(&files) {
            found.push(format!(
                "{dialect}/{missing}.sql: is declared, and is no file"
            ));
        }
        for left in files.difference(&names) {
            found.push(format!(
                "{dialect}/{left}.sql: is a file, and is not declared"
            ));
        }
    }
    for statement in package.statements {
        if let Some(trouble) = unbound(statement.sqlite) {
            found.push(format!("sqlite/{}.sql: {trouble}", statement.name));
        }
    }
    found.extend(in_the_way(package));
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let database = Database::make(kind).await;
        let store = database.open().await;
        if let Err(error) = store.migrate(package).await {
            found.push(format!("{kind:?}: {error:?}"));
            continue;
        }
        for statement in package.statements {
            let prepared: Result<(), crate::Error> = match store.backend() {
                #[cfg(feature = "sqlite")]
                Backend::Sqlite(sqlite) => sqlite.prepare(statement.sqlite).await,
                #[cfg(feature = "postgres")]
                Backend::Postgres(postgres) => {
                    let text = statement.for_postgres(&store.config().schema);
                    postgres.prepare(text).await
                }
                Backend::Never(never) => match *never {},
            };
            if let Err(error) = prepared {
                found.push(format!("{kind:?}: {statement}: {error:?}"));
            }
        }
        store.close().await;
    }
    assert!(
        found.is_empty(),
        "{} problem(s):\n{}",
        found.len(),
        found.join("\n")
    );
}

/// Migrations from before the first release: nobody has rows in their tables.
const UNRELEASED: [(&str, &str); 1] = [("jobs", "0003_times")];

/// Says which migrations of PostgreSQL would have those who write wait for an index, or could not be begun again.
fn in_the_way(package: &Package) -> Vec<String> {
    let mut found = Vec::new();
    for (number, migration) in package.migrations.iter().enumerate() {
        let name = migration.name();
        if UNRELEASED.contains(&(package.name, name)) {
            continue;
        }
        if !migration.is_concurrent() {
            for table in indexed(migration.postgres) {
                if !migration
                    .postgres
                    .contains(&format!("CREATE TABLE {table} "))
                {
                    found.push(format!(
                        "{name}: nobody writes into {table} while its index is built: put it into a migration of \
                         indexes alone, marked `concurrent`"
                    ));
                }
            }
            continue;
        }
        let changes = match indexes::read(migration.postgres) {
            Ok(changes) => changes,
            Err(statement) => {
                found.push(format!("{name}: cannot be begun again: {statement}"));
                continue;
            }
        };
        let earlier = || package.migrations[..number].iter();
        for change in changes {
            if let Change::Create { name: index, .. } = change
                && earlier().any(|earlier| words(earlier.postgres).any(|word| word == index))
            {
                found.push(format!("{name}: {index} was the name of another index"));
            }
        }
    }
    found
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let lines = text
        .lines()
        .map(|line| line.split("--").next().unwrap_or(line));
    lines.flat_map(str::split_whitespace)
}

/// Gives the tables that a text makes indexes of.
fn indexed(text: &str) -> Vec<&str> {
    let words: Vec<&str> = words(text).collect();
    let starts = (0..words.len()).filter(|at| {
        let unique = usize::from(words.get(at + 1) == Some(&"UNIQUE"));
        words[*at] == "CREATE" && words.get(at + 1 + unique) == Some(&"INDEX")
    });
    starts
        .filter_map(|at| {
            let on = words[at..].iter().position(|word| *word == "ON")?;
            words.get(at + on + 1).copied()
        })
        .collect()
}

/// Says which of the statements of a text would be run with a null in place of a value.
///
/// SQLite counts the placeholders of a statement up to the highest. The driver gives a value to those that are
/// left out as well, one after the other over all statements of the text, and once it has none left it gives
/// nothing to those that follow either: without a word, they are null.
fn unbound(text: &str) -> Option<String> {
    let lines = text
        .lines()
        .map(|line| line.split("--").next().unwrap_or(line));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let statements: Vec<BTreeSet<usize>> = text.split(';').map(placeholders).collect();
    let values = statements.iter().flatten().copied().max().unwrap_or(0);
    let mut left_out = 0;
    for (index, used) in statements.iter().enumerate() {
        for number in 1..=used.last().copied().unwrap_or(0) {
            left_out += usize::from(!used.contains(&number));
            if left_out > values {
                let nth = index + 1;
                return Some(format!(
                    "the placeholders of statement {nth} leave out too many numbers: order them so that \
                     few are left out, or the driver leaves the rest of them null"
                ));
            }
        }
    }
    None
}

fn placeholders(statement: &str) -> BTreeSet<usize> {
    let parts = statement.split('?').skip(1);
    let digits = |part: &str| {
        let end = part
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(part.len());
        part[..end].parse().ok()
    };
    parts.filter_map(digits).collect()
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".sql")?.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Migration;

    #[test]
    fn placeholders_that_the_driver_would_leave_null_are_found() {
        assert_eq!(unbound("SELECT ?1, ?2; SELECT ?2 -- ?9\n; SELECT ?1"), None);
        assert_eq!(unbound("SELECT ?2; SELECT ?2"), None);

        let found = unbound("SELECT ?2; SELECT ?2; SELECT ?2");

        assert!(found.is_some_and(|found| found.contains("statement 3")));
    }

    #[test]
    fn an_index_in_the_way_of_those_who_write_is_found() {
        const TABLES: Migration = Migration::new(
            "0001_tables",
            "",
            "CREATE TABLE {schema}.t (x bigint);\nCREATE UNIQUE INDEX a ON {schema}.t (x);",
        );
        const fn second(text: &'static str) -> Migration {
            Migration::new("0002_more", "", text)
        }
        fn found(migration: Migration) -> Vec<String> {
            in_the_way(&Package {
                name: "test",
                migrations: Box::leak(Box::new([TABLES, migration])),
                statements: &[],
            })
        }

        let beside = second("CREATE INDEX CONCURRENTLY IF NOT EXISTS b ON {schema}.t (x);");
        assert_eq!(found(beside.concurrent()), Vec::<String>::new());
        let column = second("ALTER TABLE {schema}.t ADD COLUMN y bigint; -- CREATE INDEX b ON u");
        assert_eq!(found(column), Vec::<String>::new());

        let within = second("CREATE INDEX b\n    ON {schema}.t (x);");
        assert!(found(within)[0].contains("nobody writes into {schema}.t"));
        assert!(found(within.concurrent())[0].contains("cannot be begun again"));
        let again = second("CREATE INDEX CONCURRENTLY IF NOT EXISTS a ON {schema}.t (x);");
        assert!(found(again.concurrent())[0].contains("the name of another index"));
    }
}
