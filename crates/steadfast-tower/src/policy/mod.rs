//! The policy of a service, as a document that people write, read and change.
//!
//! # The problem
//! What a guard is told is changed most often when something is on fire: by somebody who did not
//! write it, in a hurry, with no test in between.
//!
//! # Why the usual answer fails
//! Numbers in code need a build and a deploy to change. Numbers in a file that is deserialized are
//! accepted if they parse: a misspelt key is passed over, a timeout that holds every permit there is
//! is a valid number, and what is in force afterwards is anybody's guess.
//!
//! # The tool
//! A [`PolicyDocument`] is a policy in TOML that was read and checked as a whole: every mistake is
//! told at once, with its line, the arithmetic, and what to write instead. There is none with a
//! mistake in it. The page `docs/reference/policy.md` has every key, `policy-rules.md` every mistake
//! that the linter knows.
//!
//! # Examples
//! ```
//! use steadfast_tower::policy::PolicyDocument;
//!
//! let refused = PolicyDocument::new(
//!     "policy.toml",
//!     r#"
//! [admissions.http]
//! permits = 200
//! queue_wait = "50ms"
//!
//! [timeouts.slow]
//! timeout = "1s"
//!
//! [routes."GET /report"]
//! rate = 500
//! timeout = "slow"
//! admission = "http"
//! "#,
//! )
//! .unwrap_err();
//!
//! assert_eq!(
//!     refused.to_string(),
//!     r#"error[P001]: routes."GET /report".timeout: 500/s × 1s = 500 permits are held when it stalls, of 200
//!   --> policy.toml:11:11
//!    |
//! 11 | timeout = "slow"
//!    |           ^^^^^^
//!    = fix: shorten it to 400ms or less, learn it, or have an admission of its own
//! "#
//! );
//! ```

mod document;
mod hash;
mod read;

#[cfg(test)]
mod document_props;
#[cfg(test)]
mod document_tests;

pub use document::PolicyDocument;
pub use hash::DocumentHash;
