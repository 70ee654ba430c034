//! How much one client, or all of them, may send over time.
//!
//! # The problem
//!
//! One client in a loop takes what all the others pay for. A limit on requests in flight does not
//! see it: the loop never has more than one. It takes a quota over time, and the answer must come
//! in nanoseconds, because it is asked before anything else is known about a request.
//!
//! # Why the usual answers fail
//!
//! A counter that is cleared every second lets twice the quota through around the moment of
//! clearing. A sliding log of instants is exact and costs memory in proportion to the quota, for
//! every client. A token bucket that a timer refills needs the timer. And one entry per client,
//! kept in a map, is an invitation: whoever sends a million made-up keys owns the memory, or, once
//! the map is capped and evicts, owns the eviction: an offender floods the map with made-up keys
//! until its own entry is thrown out, and starts afresh.
//!
//! # The tool
//!
//! The *generic cell rate algorithm* keeps one instant: when the bucket will be full again, if
//! nothing more is taken. Taking a cell moves it forward by one cell's time; a request passes if it
//! moves no further than a full bucket's time ahead of now. That is a token bucket without a timer
//! in eight bytes, and every number a client may want to hear follows from it: what remains, when
//! all is back, when to come again.
//!
//! - [`Quota`] is the rule and does the arithmetic.
//! - [`RateLimiter`] is one bucket that many threads share: one atomic, no lock.
//! - [`KeyedRate`] is a bucket a key, in memory that is fixed when it is made, and in which
//!   neither offender nor flood can buy forgetting; its page says how.
//!
//! Promises, each a property test: an answer that says when to come again is neither early nor
//! late by a nanosecond; in no window of length `t` does more pass than the burst and `t` times the
//! rate.
//!
//! A quota protects clients from each other. It does not protect the service from all of them
//! together, for it does not know what the service can do today: that is the part of admission.

mod keyed;
mod local;
mod quota;

#[cfg(all(test, steadfast_loom))]
mod loom;

pub use keyed::{KeyedAnswer, KeyedRate, KeyedRateStats, Seat};
pub use local::RateLimiter;
pub use quota::{Answer, InvalidQuota, Quota, Verdict};
