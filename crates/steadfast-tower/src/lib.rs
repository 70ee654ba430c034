//! Layers that keep a tower service up, in front of handlers and around outgoing calls.
//!
//! # The problem
//! One panicking handler closes a connection without an answer; one slow dependency takes the
//! healthy paths with it; ten times the load takes everything. And nobody is told why.
//!
//! # Why the usual answer fails
//! There is a layer for each of these. Put together in the obvious way, they compile, pass review
//! and do nothing: a limiter is made anew for each connection, a breaker sees only `Ok`, a queue
//! behind a forwarded `poll_ready` never fills, the trace layer inside the panic layer has no
//! line for the panic.
//!
//! # The tool
//! Each layer here does one thing on any service over [`http`] types, keeps tower's contract, and
//! tells what it did:
//!
//! | | |
//! |---|---|
//! | [`trace_id`] | one id for a request and all that it starts, by the letter of W3C Trace Context |
//! | [`recover`] | a panic becomes a clean answer, wherever it happens |
//! | [`rate_limit`] | how much one client may send over time |
//! | [`policy`] | what all of it is told: a document, checked, explained, changed while running |
//! | [`reject`] | why a request was not served: the answer, the count, the line in the log |
#![forbid(unsafe_code)]

pub mod policy;
pub mod rate_limit;
pub mod recover;
pub mod reject;
pub mod trace_id;

mod answer;
mod ready;
mod trust;

pub use answer::{AnswerBody, AnswerFuture};
pub use policy::PolicyDocument;
pub use rate_limit::RateLimitLayer;
pub use ready::WhenReady;
pub use recover::RecoverLayer;
pub use reject::{Reason, Rejection};
pub use trace_id::{PropagateLayer, TraceIdLayer};
pub use trust::Trust;
