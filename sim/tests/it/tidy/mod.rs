//! The rules of the structure, as tests, so that they stay true.
//!
//! One file a rule. Each has the rule itself, run on this repository, and beside it a test in which
//! the rule sees planted violations: a rule that cannot fail protects nothing. A rule answers with
//! every violation at once, each as `place: what is wrong and what to do`.

mod arrows;
mod catalogue;
mod changelog;
mod clock;
mod drivers;
mod leftovers;
mod links;
mod manifests;
mod proof;
mod purity;
mod repository;
mod source;
mod statements;
mod tokens;
mod unsafety;

/// Fails with all violations of a rule, if there are any.
#[track_caller]
fn assert_none(violations: &[String]) {
    assert!(
        violations.is_empty(),
        "{} violation(s):\n  {}",
        violations.len(),
        violations.join("\n  ")
    );
}
