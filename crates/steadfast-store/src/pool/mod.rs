//! Connections that explain themselves: who holds them, who waits, and why there is none.
//!
//! # The problem
//! A pool runs dry, and the error says *timed out*: whether somebody keeps a connection, the server refuses, a firewall
//! drops packets, or one's own task waits for the connection that it holds itself. A query that was given up keeps its
//! connection, and with it the permit, for as long as a dead socket may take. A `begin` that was cancelled hands the
//! next one a connection with a transaction in it.
//!
//! # The tool
//! A pool of `sqlx09` (feature `sqlx09`) gives connections of sqlx, for queries of your own. The store uses the same for
//! itself.
//!
//! - [`AcquireError`] tells *exhausted*, and by whom, *refused*, *handshake slow* and *silent* apart; a server that refuses is
//!   told at once.
//! - [`Holder`]: the scopes, the trace, the place in the source, and since when. One that holds for longer than
//!   [`leak_after`](PoolConfig::leak_after) is told in the log.
//! - A connection goes back when the server has answered that it is in order: whatever was dropped half-way, by a timeout,
//!   a client that left, a `select!`. One that does not answer within a second is thrown away; its permit is not.
//! - A task that waits for a connection while it holds one is told in the log at once, and in its error.
//! - [`reserve`](PoolConfig::reserve) keeps the last connections for tiers that matter more; who waits goes by tier, and by
//!   arrival within one.
//! - The size changes while it runs, up to [`size_max`](PoolConfig::size_max); [`Advice`] says how many are enough, by
//!   Little's law.
//! - Metrics have the names of OpenTelemetry, `db_client_connection_*`.
//!
//! What a session remembers is not undone: `SET`, `LISTEN`, advisory locks, temporary tables. Use `SET LOCAL`, and locks that end
//! with the transaction.

mod advice;
mod books;
#[cfg(test)]
mod closing;
mod config;
mod error;
mod holder;
mod inner;
mod permits;
#[cfg(test)]
mod silent;

use std::time::Duration;

use steadfast_core::context::Name;

pub(crate) use books::{EVENTS, METRICS};
pub(crate) use error::{HOLDERS_TOLD, Why};
pub(crate) use holder::at_work;
pub(crate) use inner::{Held, Manage, NoConnection, Pool};

pub use advice::Advice;
pub use config::PoolConfig;
pub use error::AcquireError;
pub use holder::Holder;

/// What a pool does at this moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PoolStats {
    /// The name from the config.
    pub name: Name,
    /// How many connections there may be.
    pub size: usize,
    /// How many are in use, those included that are put in order after use.
    pub used: usize,
    /// How many are there and wait for use.
    pub idle: usize,
    /// How many wait for one.
    pub waiters: usize,
    /// How many have been held for longer than [`leak_after`](PoolConfig::leak_after).
    pub held_long: usize,
    /// How many were made.
    pub made: u64,
    /// How many were thrown away, because nobody knew in which state they were.
    pub discarded: u64,
    /// How often one was waited for in vain.
    pub timeouts: u64,
    /// How often a task waited for one while it held one.
    pub nested: u64,
}

/// Tells of a public pool.
pub(crate) struct Reporter<M: Manage> {
    pub(crate) pool: std::sync::Weak<Pool<M>>,
    pub(crate) leak_after: Duration,
}

impl<M: Manage> steadfast_core::report::Source for Reporter<M> {
    fn describe(&self) -> &'static [steadfast_core::report::MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut steadfast_core::report::Collector) {
        if let Some(pool) = self.pool.upgrade() {
            books::collect(&pool.stats(self.leak_after), &pool.times(), to);
        }
    }
}
