//! A change tells its users about itself, in the place where they look.

use std::path::Path;

use super::assert_none;
use super::repository;

const KINDS: &[&str] = &["Added", "Changed", "Fixed", "Removed"];

fn violations(changelog: &str) -> Vec<String> {
    let versions: Vec<&str> = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let mut violations = Vec::new();
    if versions.first() != Some(&"Unreleased") {
        violations.push("CHANGELOG.md: the first section is not `## Unreleased`".to_owned());
    }
    let kinds = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("### "));
    violations.extend(
        kinds
            .filter(|kind| !KINDS.contains(kind))
            .map(|kind| format!("CHANGELOG.md: `### {kind}` is none of {}", KINDS.join(", "))),
    );
    violations
}

#[test]
fn the_changelog_has_a_place_for_the_next_release() {
    let changelog = repository::text(Path::new("CHANGELOG.md")).expect("it is text");

    assert_none(&violations(&changelog));
}

#[test]
fn planted_faults_of_the_changelog_are_seen() {
    assert_none(&violations(
        "# Changelog\n\n## Unreleased\n\n### Added\n\n## 0.1.0\n\n### Fixed\n",
    ));
    assert_eq!(violations("# Changelog\n\n## 0.1.0\n").len(), 1);
    assert_eq!(
        violations("# Changelog\n\n## Unreleased\n\n### Improved\n").len(),
        1
    );
}
