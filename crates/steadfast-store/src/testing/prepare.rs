//! Every statement of a package, tried against its tables.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Database, Kind};
use crate::Package;
use crate::store::Backend;

/// Makes sure that a package fits its databases: all its migrations apply, each of its statements
/// can be prepared against the tables that they make, is one statement on PostgreSQL, and has a
/// file on both sides; and that no file in `src/sql` is left out. `manifest_dir` is
/// `env!("CARGO_MANIFEST_DIR")` of the package.
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

    #[test]
    fn placeholders_that_the_driver_would_leave_null_are_found() {
        assert_eq!(unbound("SELECT ?1, ?2; SELECT ?2 -- ?9\n; SELECT ?1"), None);
        assert_eq!(unbound("SELECT ?2; SELECT ?2"), None);

        let found = unbound("SELECT ?2; SELECT ?2; SELECT ?2");

        assert!(found.is_some_and(|found| found.contains("statement 3")));
    }
}
