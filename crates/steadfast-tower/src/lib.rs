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
//! | [`guard`] | the whole stack in the right order, from one policy |
//! | [`route`] | which route a request belongs to, by a name from a bounded set |
//! | [`recover`] | a panic becomes a clean answer, wherever it happens |
//! | [`classify`] | how an outgoing call ended: whose fault it is, whether it may be repeated |
//! | [`access_log`] | one line for every request, however it ends, and the counts of all |
//! | [`tier`] | who is served first when there is not enough for all |
//! | [`deadline`] | until when somebody wants the answer |
//! | [`admission`] | who gets in when there is not enough for all |
//! | [`timeout`] | how long to wait for an answer |
//! | [`streams`] | how many answers there may be that do not end by themselves |
//! | [`rate_limit`] | how much one client may send over time |
//! | [`retry`] | another attempt of an outgoing call, where it repairs something and harms nobody |
//! | [`hedge`] | a second attempt beside a first one that takes long |
//! | [`breaker`] | leaving alone what does not work, and finding out when it does again |
//! | [`drain`] | leaving without a failed request, the less important ones first |
//! | [`policy`] | what all of it is told: a document, checked, explained, changed while running |
//! | [`reject`] | why a request was not served: the answer, the count, the line in the log |
//! | [`catalogue`] | every metric and event that the layers tell |
//!
//! # Features
//! None is on by default. `axum` names routes as an axum router does; `prometheus` has learned
//! timeouts start from what a Prometheus knows; `serde` gives explanations as data.
#![forbid(unsafe_code)]

pub mod access_log;
pub mod admission;
pub mod breaker;
pub mod catalogue;
pub mod classify;
pub mod deadline;
pub mod drain;
pub mod guard;
pub mod hedge;
pub mod policy;
#[cfg(feature = "prometheus")]
pub mod prometheus;
pub mod rate_limit;
pub mod recover;
pub mod reject;
pub mod retry;
pub mod route;
pub mod streams;
pub mod tier;
pub mod timeout;
pub mod trace_id;

mod answer;
mod attempt;
#[cfg(feature = "axum")]
mod axum;
mod count;
mod counts;
mod form;
mod held;
mod keys;
mod measured;
mod noted;
mod placed;
mod ready;
mod replay;
mod target;
mod trust;

pub use access_log::AccessLogLayer;
pub use admission::AdmissionLayer;
pub use answer::{AnswerBody, AnswerFuture};
pub use breaker::BreakerLayer;
pub use classify::{CallEnd, Classify};
pub use deadline::{DeadlineLayer, PropagateDeadlineLayer};
pub use drain::{Drain, DrainLayer};
pub use form::{Client, Form, Server};
pub use guard::Guard;
pub use hedge::HedgeLayer;
pub use held::{HeldBody, Hold};
pub use noted::Leaving;
pub use placed::{PlacedBody, PlacedFuture};
pub use policy::PolicyDocument;
pub use rate_limit::RateLimitLayer;
pub use ready::WhenReady;
pub use recover::RecoverLayer;
pub use reject::{CallError, CallFuture, Reason, Rejection};
pub use retry::RetryLayer;
pub use route::RouteLayer;
pub use streams::StreamsLayer;
pub use tier::{PropagateTierLayer, TierLayer};
pub use timeout::TimeoutLayer;
pub use trace_id::{PropagateLayer, TraceIdLayer};
pub use trust::Trust;
