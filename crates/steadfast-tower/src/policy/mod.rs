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
//! A [`LivePolicy`] is what is in force. [`propose`](LivePolicy::propose) a document, look at what it
//! would change, [`apply`](LivePolicy::apply) it, [`revert`](LivePolicy::revert) it: each is a
//! [`Revision`] with an author and a reason. One that is kept elsewhere is [adopted](LivePolicy::adopt). Readers never wait, and whoever keeps state behind the
//! numbers is told which of them changed, so that a breaker does not close because somebody touched a
//! timeout. An [`Override`] holds one value against the document and ends by itself. A policy with
//! `shadow = true` says what it would have rejected, and rejects nothing.
//!
//! An [`Explanation`] has every value in force for a route or a dependency and where it came from: a
//! line, a default and its reason, or an operator until a time.
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
//!
//! A value is changed while the service runs:
//! ```
//! use steadfast_core::clock;
//! use steadfast_tower::policy::{LivePolicy, PolicyDocument, Revision, Signed};
//!
//! let document = |timeout: &str| {
//!     let page = format!("[timeouts.page]\ntimeout = {timeout:?}\n");
//!     PolicyDocument::new("policy.toml", page + "[routes.\"/\"]\ntimeout = \"page\"\n")
//! };
//! let by_ann = |reason: &str| Signed::new("ann", reason);
//! let now = clock::timestamp();
//! let first = Revision::new("shop", 1, document("1s")?, by_ann("first")?, now);
//! let live = LivePolicy::new(first);
//!
//! let proposal = live.propose(document("800ms")?, by_ann("follow the new p99")?);
//! assert_eq!(proposal.changes()[0].path.to_string(), "timeouts.page.timeout");
//! live.apply(proposal, now)?;
//!
//! let told = live.in_force().explain_route("GET /")?;
//! let timeout = &told.tables[1].values[0];
//! assert_eq!(timeout.value.as_deref(), Some("\"800ms\""));
//! assert_eq!(timeout.origin.to_string(), "policy.toml:2:1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod document;
mod explain;
mod hash;
mod in_force;
mod live;
mod overrides;
mod read;
mod revision;
mod signed;

#[cfg(test)]
mod document_props;
#[cfg(test)]
mod document_tests;
#[cfg(test)]
mod explain_tests;
#[cfg(test)]
mod live_tests;

pub use document::PolicyDocument;
pub use explain::{Asked, ExplainedTable, ExplainedValue, Explanation, Origin, UnknownSubject};
pub use hash::DocumentHash;
pub use in_force::{InForce, PolicyChange, PolicyObserver};
pub use live::{ApplyError, LivePolicy};
pub use overrides::{InvalidOverride, Override};
pub use revision::{Proposal, Revision};
#[cfg(feature = "prometheus")]
pub(crate) use signed::utc;
pub use signed::{InvalidSigned, Signed};
