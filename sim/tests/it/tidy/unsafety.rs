//! Unsafe code lives in steadfast-core, where each use is justified, and nowhere else.

use std::path::Path;

use super::assert_none;
use super::repository::{self, Target};
use super::source;
use super::tokens;

/// May use `unsafe`, under the workspace's `deny` and with a reason at each place.
const EXCEPT: &str = "crates/steadfast-core/src/lib.rs";

fn violation(target: &Target, text: &str) -> Option<String> {
    let is_root =
        ["lib", "bin", "proc-macro", "cdylib", "staticlib"].contains(&target.kind.as_str());
    if !is_root || target.root == Path::new(EXCEPT) {
        return None;
    }
    let sources = source::parse([(target.root.as_path(), text.to_owned())]);
    tokens::lines_with(&sources[0].all, "#![forbid(unsafe_code)]")
        .is_empty()
        .then(|| format!("{}: lacks #![forbid(unsafe_code)]", target.root.display()))
}

#[test]
fn every_crate_root_but_the_one_of_core_forbids_unsafe_code() {
    let targets = repository::packages()
        .iter()
        .flat_map(|package| &package.targets);
    let violations: Vec<String> = targets
        .filter_map(|target| {
            violation(target, &repository::text(&target.root).expect("it is text"))
        })
        .collect();

    assert_none(&violations);
}

#[test]
fn planted_roots_without_the_promise_are_seen() {
    let target = |kind: &str, root: &str| Target {
        kind: kind.into(),
        root: root.into(),
    };
    let program = target("bin", "crates/steadfast-server/src/main.rs");

    assert_eq!(
        violation(&program, "//! Docs.\n#![forbid(unsafe_code)]"),
        None
    );
    assert!(violation(&program, "// #![forbid(unsafe_code)]").is_some());
    assert!(violation(&program, "#![deny(unsafe_code)]").is_some());
    assert_eq!(violation(&target("lib", EXCEPT), ""), None);
    assert_eq!(violation(&target("test", "sim/tests/it/main.rs"), ""), None);
}
