//! Core decides, tower adapts, store persists, server shows: arrows between packages point down.

use super::assert_none;
use super::repository::{self, Dependency, Package};

/// A package, its level, and which of ours it may see. A new arrow is a new entry here, discussed
/// before the code that wants it.
struct Place {
    package: &'static str,
    level: u8,
    sees: &'static [&'static str],
}

const PLACES: &[Place] = &[
    place("steadfast-core", 0, &[]),
    place("steadfast-tower", 1, &["steadfast-core"]),
    place("steadfast-store", 1, &["steadfast-core"]),
    place("steadfast-ids", 2, &["steadfast-core", "steadfast-store"]),
    place("steadfast-jobs", 2, &["steadfast-core", "steadfast-store"]),
    place(
        "steadfast-telemetry",
        2,
        &["steadfast-core", "steadfast-store"],
    ),
    place(
        "steadfast-config",
        2,
        &["steadfast-core", "steadfast-store"],
    ),
    place(
        "steadfast",
        3,
        &[
            "steadfast-core",
            "steadfast-tower",
            "steadfast-store",
            "steadfast-ids",
            "steadfast-jobs",
            "steadfast-telemetry",
            "steadfast-config",
        ],
    ),
    // What people see first goes through the front door, so that a missing name hurts us first.
    place("steadfast-shop", 4, &["steadfast"]),
    place("steadfast-sim", 4, &["steadfast"]),
    place("steadfast-benches", 4, &["steadfast"]),
    // `steadfast dev` serves the shop.
    place("steadfast-server", 5, &["steadfast", "steadfast-shop"]),
];

const fn place(package: &'static str, level: u8, sees: &'static [&'static str]) -> Place {
    Place {
        package,
        level,
        sees,
    }
}

fn place_of(package: &str) -> Option<&'static Place> {
    PLACES.iter().find(|place| place.package == package)
}

fn violations(packages: &[Package]) -> Vec<String> {
    let mut violations = Vec::new();
    for package in packages {
        let Some(place) = place_of(&package.name) else {
            violations.push(format!(
                "{}: not in the table of levels; add it to PLACES in {}, with what it may see",
                package.name,
                file!()
            ));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.local)
        {
            if !place.sees.contains(&dependency.name.as_str()) {
                let may = if place.sees.is_empty() {
                    "none of ours".into()
                } else {
                    place.sees.join(", ")
                };
                violations.push(format!(
                    "{}: depends on {}, but may see {may}",
                    package.name, dependency.name
                ));
            }
        }
    }
    violations
}

#[test]
fn no_arrow_points_upward_or_sideways() {
    assert_none(&violations(repository::packages()));
}

#[test]
fn the_table_of_levels_points_downward_itself() {
    for place in PLACES {
        for seen in place.sees {
            let seen = place_of(seen).expect("what is seen has a place of its own");

            assert!(
                seen.level < place.level,
                "{} sees {}",
                place.package,
                seen.package
            );
        }
    }
}

#[test]
fn planted_arrows_and_unknown_packages_are_seen() {
    let package = |name: &str, sees: &[(&str, bool)]| Package {
        name: name.into(),
        dependencies: sees
            .iter()
            .map(|(name, dev)| Dependency {
                name: (*name).into(),
                dev: *dev,
                local: true,
            })
            .collect(),
        ..Package::default()
    };

    let found = violations(&[
        package(
            "steadfast-jobs",
            &[("steadfast-core", false), ("steadfast-config", false)],
        ),
        package("steadfast-core", &[("steadfast", true)]),
        package("steadfast-new", &[]),
    ]);

    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].starts_with("steadfast-jobs: depends on steadfast-config"));
    assert!(found[1].starts_with("steadfast-core: depends on steadfast, but may see none of ours"));
    assert!(found[2].contains("add it to PLACES"));
}
