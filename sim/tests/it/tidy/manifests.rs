//! Version, edition, license and lints are said once, in the workspace.

use super::assert_none;
use super::repository;

/// The sections, and what must stand in each, in one of the forms that this repository uses.
const INHERITED: &[(&str, &[&str])] = &[
    (
        "[package]",
        &["version.workspace=true", "version={workspace=true}"],
    ),
    (
        "[package]",
        &["edition.workspace=true", "edition={workspace=true}"],
    ),
    (
        "[package]",
        &["license.workspace=true", "license={workspace=true}"],
    ),
    ("[lints]", &["workspace=true"]),
];

fn violations(place: &str, manifest: &str) -> Vec<String> {
    INHERITED
        .iter()
        .filter(|(section, forms)| !section_has(manifest, section, forms))
        .map(|(section, forms)| format!("{place}: {section} lacks {}", forms[0]))
        .collect()
}

fn section_has(manifest: &str, section: &str, forms: &[&str]) -> bool {
    manifest
        .lines()
        .map(|line| {
            line.split('#')
                .next()
                .unwrap_or("")
                .replace(char::is_whitespace, "")
        })
        .skip_while(|line| line != section)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .any(|line| forms.contains(&line.as_str()))
}

#[test]
fn every_package_takes_version_edition_license_and_lints_from_the_workspace() {
    let violations: Vec<String> = repository::packages()
        .iter()
        .flat_map(|package| {
            let manifest = repository::text(&package.manifest).expect("it is text");
            violations(&package.manifest.display().to_string(), &manifest)
        })
        .collect();

    assert_none(&violations);
}

#[test]
fn planted_values_of_their_own_are_seen() {
    let good = "[package]\nname = \"a\"\nversion.workspace = true\nedition = { workspace = true }\n\
                license.workspace = true # why\n\n[lints]\nworkspace = true\n";
    let planted = [
        good.replace("version.workspace = true", "version = \"1.0.0\""),
        good.replace("edition = { workspace = true }", ""),
        good.replace("license.workspace", "# license.workspace"),
        good.replace(
            "[lints]\nworkspace = true",
            "[lints.rust]\nunsafe_code = \"allow\"",
        ),
        good.replace("[lints]", "[features]"),
    ];

    assert_none(&violations("a", good));
    for manifest in planted {
        assert_eq!(violations("a", &manifest).len(), 1, "{manifest}");
    }
}
