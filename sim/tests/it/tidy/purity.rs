//! Pure files: the same calls in the same order give the same answers.
//!
//! They never wait, lock, read a clock, draw randomness, log or touch the environment, which is what
//! lets a test, the simulator and production run the same decisions.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::assert_none;
use super::repository;
use super::source::{self, Source};
use super::tokens::{self, Token};

/// Everything in core's `decide/`, and these files of other packages, each with what is in the folder of its
/// name.
const PURE_FILES: &[(&str, &str)] = &[
    ("steadfast-store", "permits.rs"),
    ("steadfast-store", "advice.rs"),
    ("steadfast-store", "lag.rs"),
    ("steadfast-jobs", "state.rs"),
    ("steadfast-jobs", "crash.rs"),
    ("steadfast-jobs", "brake.rs"),
    ("steadfast-jobs", "poll.rs"),
    ("steadfast-jobs", "pace.rs"),
    ("steadfast-jobs", "retry.rs"),
    ("steadfast-jobs", "cron.rs"),
    ("steadfast-jobs", "due.rs"),
    ("steadfast-ids", "snowflake.rs"),
    ("steadfast-ids", "segment.rs"),
    ("steadfast-ids", "prefetch.rs"),
    ("steadfast-telemetry", "query.rs"),
    ("steadfast-config", "change.rs"),
];

/// What a pure file never names.
const IMPURE: &[(&str, &str)] = &[
    (".await", "it waits"),
    ("async", "it waits"),
    ("tokio::", "it waits"),
    ("Mutex", "it locks"),
    ("RwLock", "it locks"),
    ("Condvar", "it locks"),
    ("OnceLock", "its answer depends on who came first"),
    ("LazyLock", "its answer depends on who came first"),
    ("thread_local!", "its answer depends on the thread"),
    ("static mut", "its answer depends on who came first"),
    (
        "Instant::now",
        "it reads a clock; take `now` as u64 nanoseconds",
    ),
    (
        "SystemTime",
        "it reads a clock; take `now` as u64 nanoseconds",
    ),
    (
        "crate::clock",
        "it reads a clock; take `now` as u64 nanoseconds",
    ),
    (
        "steadfast_core::clock",
        "it reads a clock; take `now` as u64 nanoseconds",
    ),
    (
        "rand::",
        "it draws randomness; take random bits as an argument",
    ),
    (
        "fastrand::",
        "it draws randomness; take random bits as an argument",
    ),
    (
        "getrandom::",
        "it draws randomness; take random bits as an argument",
    ),
    (
        "RandomState",
        "it draws randomness; take random bits as an argument",
    ),
    (
        "crate::rng",
        "it draws randomness; take random bits as an argument",
    ),
    (
        "steadfast_core::rng",
        "it draws randomness; take random bits as an argument",
    ),
    ("tracing::", "it logs; return what happened"),
    ("log::", "it logs; return what happened"),
    ("print!", "it prints; return what happened"),
    ("println!", "it prints; return what happened"),
    ("eprint!", "it prints; return what happened"),
    ("eprintln!", "it prints; return what happened"),
    ("std::env", "it touches the environment"),
    ("std::fs", "it touches the environment"),
    ("std::io", "it touches the environment"),
    ("std::net", "it touches the environment"),
    ("std::process", "it touches the environment"),
    ("std::thread", "it touches the environment"),
];

/// Concepts that many threads ask at once; everything else takes `&mut self`.
const ATOMIC: &[&str] = &[
    "sketch",
    "breaker",
    "limit",
    "rate",
    "admission",
    "snowflake",
];

/// A pure file, and the concept it belongs to, such as `decide/breaker`.
struct PureFile {
    concept: PathBuf,
    source: Source,
}

/// Gives the concept that a path belongs to, if the path is one of a pure file: for core the first
/// name below `decide/`, elsewhere the file itself, or the one that its folder is named after.
fn concept(path: &Path) -> Option<PathBuf> {
    if let Ok(rest) = path.strip_prefix("crates/steadfast-core/src/decide") {
        let first = Path::new(rest.components().next()?.as_os_str());
        return Some(Path::new("decide").join(first.with_extension("")));
    }
    PURE_FILES.iter().find_map(|(package, file)| {
        let sources = Path::new("crates").join(package).join("src");
        path.strip_prefix(&sources).ok()?;
        let stem = Path::new(file).file_stem()?;
        path.ancestors()
            .take_while(|ancestor| *ancestor != sources)
            .find(|ancestor| ancestor.file_name() == Some(stem) || ancestor.ends_with(file))
            .map(|ancestor| ancestor.with_extension(""))
    })
}

fn pure_files<'a>(files: impl IntoIterator<Item = (&'a Path, String)>) -> Vec<PureFile> {
    source::parse(files)
        .into_iter()
        .filter_map(|source| {
            Some(PureFile {
                concept: concept(&source.path)?,
                source,
            })
        })
        .collect()
}

fn impurities(files: &[PureFile]) -> Vec<String> {
    let mut violations = Vec::new();
    for PureFile { concept, source } in files {
        let code = &source.shipped;
        let imports = source::imports(code);
        let mut report = |line, what: &str, why: &str| {
            violations.push(format!(
                "{}:{line}: a pure file names `{what}`: {why}",
                source.path.display()
            ));
        };
        for (pattern, why) in IMPURE {
            let mut lines = tokens::lines_with(code, pattern);
            lines.extend(lines_importing(&imports, pattern));
            lines.sort_unstable();
            lines.dedup();
            for line in lines {
                report(line, pattern, why);
            }
        }
        if !ATOMIC.iter().any(|atomic| concept.ends_with(atomic)) {
            for token in code.iter().filter(|token| is_atomic(token)) {
                report(
                    token.line,
                    &token.text,
                    "only some concepts may hold atomics; take `&mut self`",
                );
            }
        }
    }
    violations
}

/// Finds what a `use` with braces brings in: in `use std::{env, fs}` no `std::env` can be read.
fn lines_importing(imports: &[Token], pattern: &str) -> Vec<usize> {
    let is_path = pattern.contains("::");
    let path = pattern.trim_end_matches("::");
    imports
        .iter()
        .filter(|import| {
            is_path
                && import
                    .text
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        })
        .map(|import| import.line)
        .collect()
}

fn is_atomic(token: &Token) -> bool {
    token
        .text
        .strip_prefix("Atomic")
        .is_some_and(|rest| rest.starts_with(char::is_uppercase))
}

/// Concepts with atomics and without a model that tries their interleavings.
fn unmodeled(files: &[PureFile]) -> Vec<String> {
    let mut concepts: HashMap<&Path, (bool, bool)> = HashMap::new();
    for file in files {
        let (atomic, modeled) = concepts.entry(&file.concept).or_default();
        *atomic |= file.source.shipped.iter().any(is_atomic);
        *modeled |= !tokens::lines_with(&file.source.all, "loom::model").is_empty();
    }
    let mut violations: Vec<String> = concepts
        .into_iter()
        .filter(|(_, (atomic, modeled))| *atomic && !modeled)
        .map(|(concept, _)| {
            format!(
                "{}: holds atomics, so it needs a loom test (`loom::model`)",
                concept.display()
            )
        })
        .collect();
    violations.sort();
    violations
}

#[test]
fn pure_files_are_pure() {
    let files = pure_files(repository::texts("rs"));

    assert!(!files.is_empty(), "core's decide/ is found");
    assert_none(&impurities(&files));
}

#[test]
fn atomics_in_pure_files_have_loom_tests() {
    assert_none(&unmodeled(&pure_files(repository::texts("rs"))));
}

fn planted(path: &str, text: &str) -> Vec<PureFile> {
    pure_files([(Path::new(path), text.to_owned())])
}

#[test]
fn planted_impurities_are_seen() {
    let cases = [
        ("fn a() { b.await }", ".await"),
        ("async fn a() {}", "async"),
        ("fn a() { b(async || {}) }", "async"),
        ("use std::sync::Mutex;", "Mutex"),
        ("fn a(b: &RwLock<u8>) {}", "RwLock"),
        ("fn a() { std::time::Instant::now(); }", "Instant::now"),
        ("use std::time::{Duration, SystemTime};", "SystemTime"),
        ("use crate::clock;", "crate::clock"),
        ("use crate::{cancel, clock::nanos};", "crate::clock"),
        ("use std::{env, fmt};", "std::env"),
        ("fn a() { std::env::var(b); }", "std::env"),
        ("fn a() { rand::random() }", "rand::"),
        ("use rand;", "rand::"),
        ("fn a() { tracing::info!(b); }", "tracing::"),
        ("use tracing::info;", "tracing::"),
        ("fn a() { println!(b); }", "println!"),
        ("use std::{fmt, thread::spawn};", "std::thread"),
        ("use std::fs::File;", "std::fs"),
        ("use std::net::{IpAddr};", "std::net"),
        ("struct A(AtomicU64);", "AtomicU64"),
    ];

    for (text, seen) in cases {
        let found = impurities(&planted(
            "crates/steadfast-core/src/decide/backoff.rs",
            text,
        ));

        assert!(
            found
                .iter()
                .any(|violation| violation.contains(&format!("`{seen}`"))),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn what_only_looks_impure_passes() {
    let cases = [
        "// b.await, rand::random()\nfn a() {}",
        "fn a() -> &'static str { \"std::env, Mutex\" }",
        "use std::time::Duration; use my_std::env; fn awaited() {}",
        "/// ```\n/// use steadfast_core::clock;\n/// ```\nfn a() {}",
        "#[cfg(test)] mod tests { use std::thread; use rand::random; }",
        "fn a(b: Atomic, operand: u8) {}",
    ];

    for text in cases {
        assert_none(&impurities(&planted(
            "crates/steadfast-core/src/decide/backoff.rs",
            text,
        )));
    }
}

#[test]
fn only_named_files_are_pure() {
    let impure = "use std::thread;";

    for pure in [
        "crates/steadfast-core/src/decide/policy/rules.rs",
        "crates/steadfast-jobs/src/schedule/cron.rs",
        "crates/steadfast-ids/src/segment.rs",
        "crates/steadfast-ids/src/snowflake/layout.rs",
    ] {
        assert_eq!(impurities(&planted(pure, impure)).len(), 1, "{pure}");
    }
    for free in [
        "crates/steadfast-core/src/scope/state.rs",
        "sim/src/decide/backoff.rs",
        "crates/steadfast-ids/src/generator.rs",
    ] {
        assert_none(&impurities(&planted(free, impure)));
    }
}

#[test]
fn files_of_tests_beside_pure_modules_may_be_impure() {
    let folder = Path::new("crates/steadfast-core/src/decide");
    let (module, tests) = (folder.join("window.rs"), folder.join("window/tests.rs"));
    let files = |declaration: &str| {
        let files = [
            (module.as_path(), declaration.to_owned()),
            (tests.as_path(), "use std::thread;".to_owned()),
        ];
        impurities(&pure_files(files))
    };

    assert_none(&files("#[cfg(test)] mod tests;"));
    assert_eq!(files("mod tests;").len(), 1);
}

#[test]
fn atomics_without_a_model_are_seen() {
    let folder = Path::new("crates/steadfast-core/src/decide/breaker");
    let (ring, model) = (folder.join("ring.rs"), folder.join("loom.rs"));
    let files = |code: &str| {
        let files = [
            (ring.as_path(), "struct A(AtomicU64);".to_owned()),
            (model.as_path(), code.to_owned()),
        ];
        unmodeled(&pure_files(files))
    };

    assert_none(&files("#![cfg(test)] fn a() { loom::model(|| {}); }"));
    assert_eq!(files("// loom::model").len(), 1);
}
