//! Time, waiting and spawning have one door each.
//!
//! Clippy guards the doors (`clippy.toml`); here stands what clippy cannot know: that its list is
//! whole, and that nobody but a door carries an exception.

use std::path::Path;

use super::assert_none;
use super::repository;
use super::source::{self, Source};
use super::tokens;

/// The files that may call what everybody else reaches through them.
const DOORS: &[(&str, &str)] = &[
    ("crates/steadfast-core/src/clock.rs", "real time"),
    ("crates/steadfast-core/src/task.rs", "tasks"),
    (
        "crates/steadfast-core/src/reaper.rs",
        "what a dropped scope left, when no task is there any more",
    ),
    (
        "crates/steadfast-core/src/pool/worker.rs",
        "workers, which are no tasks themselves and give each task its context",
    ),
    (
        "crates/steadfast-core/examples/dying.rs",
        "runtimes of others, to show what becomes of scopes in them",
    ),
    (
        "examples/shop/src/unprotected.rs",
        "tasks as usual, for the shop that goes without us",
    ),
];

/// What `clippy.toml` must refuse.
const GUARDED: &[&str] = &[
    "std::thread::sleep",
    "std::time::Instant::elapsed",
    "std::time::Instant::now",
    "std::time::SystemTime::elapsed",
    "std::time::SystemTime::now",
    "tokio::runtime::Handle::spawn",
    "tokio::runtime::Handle::spawn_blocking",
    "tokio::runtime::Runtime::spawn",
    "tokio::runtime::Runtime::spawn_blocking",
    "tokio::spawn",
    "tokio::task::spawn",
    "tokio::task::spawn_blocking",
    "tokio::task::spawn_local",
    "tokio::time::Instant::elapsed",
    "tokio::time::Instant::now",
    "tokio::time::interval",
    "tokio::time::interval_at",
    "tokio::time::sleep",
    "tokio::time::sleep_until",
    "tokio::time::timeout",
    "tokio::time::timeout_at",
];

/// The lint, and the groups that would silence it along with others.
const SILENCERS: &[&str] = &[
    "clippy::disallowed_methods",
    "clippy::style",
    "clippy::all",
    "allow(warnings",
    "expect(warnings",
];

/// `peers/` measures others as their users would write it, and is no part of what we ship.
const APART: &str = "peers";

fn unguarded(clippy_toml: &str) -> Vec<String> {
    let entries: Vec<&str> = clippy_toml
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("{ path = "))
        .collect();
    let mut violations = Vec::new();
    for guarded in GUARDED {
        let path = format!("{{ path = \"{guarded}\",");
        match entries.iter().find(|entry| entry.starts_with(&path)) {
            None => violations.push(format!("clippy.toml: disallowed-methods lacks {guarded}")),
            Some(entry) if !entry.contains("reason = \"") || entry.contains("reason = \"\"") => {
                violations.push(format!(
                    "clippy.toml: {guarded} is disallowed without a reason"
                ));
            }
            Some(_) => {}
        }
    }
    violations
}

fn exceptions(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources
        .iter()
        .filter(|source| !source.path.starts_with(APART))
    {
        let door = DOORS.iter().any(|(door, _)| source.path == Path::new(door));
        for silencer in SILENCERS {
            if !door {
                violations.extend(tokens::lines_with(&source.shipped, silencer).iter().map(|line| {
                    format!(
                        "{}:{line}: `{silencer}` is silenced; go through steadfast_core::clock and steadfast_core::spawn",
                        source.path.display()
                    )
                }));
            }
            violations.extend(lines_without_reason(source, silencer).iter().map(|line| {
                format!(
                    "{}:{line}: `{silencer}` is silenced without a reason",
                    source.path.display()
                )
            }));
        }
    }
    violations
}

/// Tests may make exceptions, and say why.
fn lines_without_reason(source: &Source, silencer: &str) -> Vec<usize> {
    let attributes = source.all.split(|token| token.text == "]");
    attributes
        .filter(|attribute| !attribute.iter().any(|token| token.text == "reason"))
        .flat_map(|attribute| tokens::lines_with(attribute, silencer))
        .collect()
}

fn lowered(manifests: impl Iterator<Item = (&'static Path, String)>) -> Vec<String> {
    manifests
        .filter(|(path, text)| {
            !path.starts_with(APART)
                && path.ends_with("Cargo.toml")
                && (text.contains("disallowed_methods") || text.contains("disallowed-methods"))
        })
        .map(|(path, _)| {
            format!(
                "{}: sets the level of disallowed_methods for all",
                path.display()
            )
        })
        .collect()
}

#[test]
fn clippy_guards_every_way_to_time_waiting_and_tasks() {
    let clippy_toml = repository::text(Path::new("clippy.toml")).expect("it is text");

    assert_none(&unguarded(&clippy_toml));
}

#[test]
fn only_the_doors_carry_an_exception() {
    assert_none(&exceptions(&source::parse(repository::texts("rs"))));
    assert_none(&lowered(repository::texts("toml")));
}

#[test]
fn planted_gaps_in_the_guard_are_seen() {
    let whole: String = GUARDED
        .iter()
        .map(|path| format!("    {{ path = \"{path}\", reason = \"why\" }},\n"))
        .collect();

    assert_none(&unguarded(&whole));
    for planted in [
        whole.replace("\"tokio::spawn\"", "\"tokio::sporn\""),
        whole.replace("{ path = \"tokio::spawn\"", "# { path = \"tokio::spawn\""),
        whole.replace(
            "\"tokio::spawn\", reason = \"why\"",
            "\"tokio::spawn\", reason = \"\"",
        ),
        whole.replace("\"tokio::spawn\", reason = \"why\"", "\"tokio::spawn\","),
    ] {
        assert_eq!(unguarded(&planted).len(), 1, "{planted}");
    }
}

#[test]
fn planted_exceptions_are_seen() {
    let found =
        |path: &str, text: &str| exceptions(&source::parse([(Path::new(path), text.to_owned())]));
    let with_reason = "#![expect(clippy::disallowed_methods, reason = \"why\")]";
    let without_reason = "#![allow(clippy::disallowed_methods)]";
    let (door, other, test) = (
        DOORS[0].0,
        "crates/steadfast-core/src/pool.rs",
        "sim/tests/it/a.rs",
    );

    assert_none(&found(door, with_reason));
    assert_none(&found(test, with_reason));
    assert_none(&found(
        other,
        "#[cfg(test)] #[allow(clippy::disallowed_methods, reason = \"\")] mod a {}",
    ));
    assert_eq!(found(other, with_reason).len(), 1);
    assert_eq!(
        found(other, "#[allow(clippy::all, reason = \"why\")] fn a() {}").len(),
        1
    );
    assert_eq!(found(door, without_reason).len(), 1);
    assert_eq!(found(test, without_reason).len(), 1);
    assert_eq!(
        lowered(
            [(
                Path::new("a/Cargo.toml"),
                "disallowed_methods = \"allow\"".to_owned()
            )]
            .into_iter()
        )
        .len(),
        1
    );
}
