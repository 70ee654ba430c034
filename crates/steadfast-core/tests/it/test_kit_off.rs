//! The test kit stays out of what is shipped.

use std::path::Path;

/// Compiles only if the crate has no `testing`: two globs that bring in one name are an error
/// where the name is used.
#[cfg(not(feature = "test-util"))]
mod absent {
    mod stand_in {
        pub(super) mod testing {
            pub(in super::super) const ABSENT: bool = true;
        }
    }

    #[allow(unused_imports, reason = "would bring in the kit")]
    use stand_in::*;
    #[allow(unused_imports, reason = "would bring in the kit")]
    use steadfast_core::*;

    #[test]
    fn without_the_feature_there_is_no_kit() {
        let absent = testing::ABSENT;

        assert!(absent);
    }
}

/// Gives the parts of a manifest that say what is shipped, with their names.
fn sections(manifest: &str) -> impl Iterator<Item = (&str, &str)> {
    // What a target of `[[test]]` requires, it does not turn on.
    let shipped =
        |(name, _): &(&str, &str)| !name.contains("dev-dependencies") && !name.starts_with('[');
    let sections = manifest.split("\n[").skip(1);
    sections
        .filter_map(|section| section.split_once(']'))
        .filter(shipped)
}

#[test]
fn nothing_that_is_shipped_turns_the_kit_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |manifest: &Path| std::fs::read_to_string(manifest).ok();
    let crates = std::fs::read_dir(root.join("crates")).unwrap();
    let manifests = crates.map(|entry| entry.unwrap().path().join("Cargo.toml"));
    let manifests: Vec<_> = manifests
        .chain([root.join("Cargo.toml")])
        .filter_map(|m| read(&m))
        .collect();
    assert!(manifests.len() >= 2, "core and the workspace are found");

    for manifest in &manifests {
        for (name, section) in sections(manifest) {
            let on = |line: &&str| {
                let own = name == "features" && line.starts_with("test-util");
                !line.starts_with('#') && !own && line.contains("test-util")
            };
            assert_eq!(section.lines().find(on), None, "in [{name}]");
        }
    }
}

#[test]
fn a_manifest_that_turns_the_kit_on_is_seen() {
    let manifest = "[package]\n[dependencies]\na = { features = [\"test-util\"] }\n[dev-dependencies]\nb = 1\n[[test]]\nrequired-features = [\"test-util\"]\n";

    let names: Vec<_> = sections(manifest).map(|(name, _)| name).collect();

    assert_eq!(names, ["dependencies"]);
}
