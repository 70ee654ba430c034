//! Frameworks and database drivers stay where they were let in.

use std::path::Path;

use super::assert_none;
use super::repository::{self, Dependency, Package};
use super::source::{self, Source};
use super::tokens;

/// Packages that may depend on axum; documentation and tests of the two that only offer it may, too.
const AXUM: &[&str] = &["steadfast-tower", "steadfast-server", "steadfast-shop"];
const AXUM_IN_TESTS: &[&str] = &["steadfast"];

/// The one file of its package that names axum, so that tower users do not pay for it.
const AXUM_FILE: &str = "crates/steadfast-tower/src/axum.rs";

/// The one package that names a database driver.
const STORE: &str = "steadfast-store";

/// Drivers by the first part of their names.
const DRIVERS: &[&str] = &[
    "sqlx",
    "rusqlite",
    "libsqlite3",
    "tokio-postgres",
    "postgres",
    "deadpool-postgres",
    "bb8-postgres",
    "diesel",
    "sea-orm",
    "mysql",
];

fn misplaced_dependencies(packages: &[Package]) -> Vec<String> {
    let mut violations = Vec::new();
    for package in packages {
        for Dependency { name, dev, .. } in &package.dependencies {
            let allowed = if is_or_extends(name, "axum") {
                let name = package.name.as_str();
                AXUM.contains(&name) || (*dev && AXUM_IN_TESTS.contains(&name))
            } else if DRIVERS.iter().any(|driver| is_or_extends(name, driver)) {
                package.name == STORE
            } else {
                true
            };
            if !allowed {
                violations.push(format!("{}: may not depend on {name}", package.name));
            }
        }
    }
    violations
}

/// `axum` and `axum-extra`, not `axumatic`.
fn is_or_extends(name: &str, family: &str) -> bool {
    name.strip_prefix(family)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

fn misplaced_axum(sources: &[Source]) -> Vec<String> {
    let tower = Path::new("crates/steadfast-tower/src");
    sources
        .iter()
        .filter(|source| source.path.starts_with(tower) && source.path != Path::new(AXUM_FILE))
        .flat_map(|source| {
            let lines = tokens::lines_with(&source.shipped, "axum::");
            lines.into_iter().map(|line| {
                format!(
                    "{}:{line}: axum is named in {AXUM_FILE} alone",
                    source.path.display()
                )
            })
        })
        .collect()
}

#[test]
fn axum_and_database_drivers_are_dependencies_only_where_they_may_be() {
    assert_none(&misplaced_dependencies(repository::packages()));
}

#[test]
fn tower_names_axum_in_one_file() {
    assert_none(&misplaced_axum(&source::parse(repository::texts("rs"))));
}

#[test]
fn planted_dependencies_are_seen() {
    let found = |package: &str, dependency: &str, dev: bool| {
        let dependency = Dependency {
            name: dependency.into(),
            dev,
            local: false,
        };
        misplaced_dependencies(&[Package {
            name: package.into(),
            dependencies: vec![dependency],
            ..Package::default()
        }])
        .len()
    };

    for allowed in [
        ("steadfast-tower", "axum", false),
        ("steadfast-server", "axum-extra", false),
        ("steadfast", "axum", true),
        ("steadfast-store", "sqlx", false),
        ("steadfast-core", "axumatic", false),
    ] {
        assert_eq!(found(allowed.0, allowed.1, allowed.2), 0, "{allowed:?}");
    }
    for planted in [
        ("steadfast-core", "axum", false),
        ("steadfast", "axum-core", false),
        ("steadfast-sim", "axum", true),
        ("steadfast-jobs", "sqlx-core", false),
        ("steadfast-jobs", "libsqlite3-sys", false),
        ("steadfast-server", "tokio-postgres", true),
    ] {
        assert_eq!(found(planted.0, planted.1, planted.2), 1, "{planted:?}");
    }
}

#[test]
fn planted_axum_is_seen() {
    let found = |path: &str| {
        misplaced_axum(&source::parse([(
            Path::new(path),
            "use axum::Router;".to_owned(),
        )]))
        .len()
    };

    assert_eq!(found("crates/steadfast-tower/src/guard/mod.rs"), 1);
    assert_eq!(found(AXUM_FILE), 0);
    assert_eq!(found("crates/steadfast-server/src/main.rs"), 0);
    assert_eq!(found("crates/steadfast-tower/tests/it/main.rs"), 0);
}
