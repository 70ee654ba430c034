//! One intent a file, the same files for both databases.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::assert_none;
use super::repository;

/// The folders of a package that have a side for each database.
const FOLDERS: &[&str] = &["sql", "migrations"];
const SIDES: [&str; 2] = ["sqlite", "postgres"];

/// A file of SQL below a folder with sides: everything but the side, and the side.
fn place(path: &Path) -> Option<(PathBuf, &str)> {
    let side = path.parent()?;
    let folder = side.parent()?;
    if !FOLDERS
        .iter()
        .any(|name| folder.ends_with(Path::new("src").join(name)))
    {
        return None;
    }
    Some((folder.join(path.file_name()?), side.file_name()?.to_str()?))
}

fn violations<'a>(files: impl IntoIterator<Item = &'a Path>) -> Vec<String> {
    let mut violations = Vec::new();
    let mut sides = [BTreeSet::new(), BTreeSet::new()];
    for path in files {
        let Some((file, side)) = place(path) else {
            if path.extension().is_some_and(|extension| extension == "sql") {
                violations.push(format!(
                    "{}: SQL lives in src/sql/{{sqlite,postgres}} or src/migrations/{{sqlite,postgres}}",
                    path.display()
                ));
            }
            continue;
        };
        match SIDES.iter().position(|known| *known == side) {
            Some(known) if path.extension().is_some_and(|extension| extension == "sql") => {
                sides[known].insert(file);
            }
            _ => violations.push(format!("{}: is no SQL of a database", path.display())),
        }
    }
    for (here, there) in [(0, 1), (1, 0)] {
        for file in sides[here].difference(&sides[there]) {
            violations.push(format!(
                "{}: is there for {}, and not for {}",
                file.display(),
                SIDES[here],
                SIDES[there]
            ));
        }
    }
    violations
}

#[test]
fn every_statement_has_a_file_for_each_database() {
    let files = repository::files();

    assert!(
        files.iter().any(|file| place(file).is_some()),
        "those of the store are found"
    );
    assert_none(&violations(files.iter().map(PathBuf::as_path)));
}

#[test]
fn planted_files_without_their_other_half_are_seen() {
    let found = |files: &[&str]| violations(files.iter().map(Path::new)).len();

    assert_eq!(
        found(&[
            "crates/a/src/sql/sqlite/b.sql",
            "crates/a/src/sql/postgres/b.sql"
        ]),
        0
    );
    assert_eq!(found(&["crates/a/src/sql/sqlite/b.sql"]), 1);
    assert_eq!(
        found(&[
            "crates/a/src/migrations/postgres/b.sql",
            "crates/c/src/migrations/sqlite/b.sql"
        ]),
        2
    );
    assert_eq!(found(&["crates/a/src/sql/mysql/b.sql"]), 1);
    assert_eq!(found(&["crates/a/src/b.sql"]), 1);
    assert_eq!(
        found(&["crates/a/src/sql/mod.rs", "crates/a/src/lib.rs"]),
        0
    );
}
