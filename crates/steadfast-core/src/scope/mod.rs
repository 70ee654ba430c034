//! Scopes own what must be undone.
//!
//! `Drop` undoes things when a block ends, but it cannot await, cannot fail, does not know how
//! the block ended, and two panics in it abort the process. A future can also end without ever
//! getting there: a timeout, a `select!`, an abort or a client that leaves drops it at an await,
//! and async cleanup written after that await never runs.
//!
//! A scope is a stack of named cleanups with one promise: **each runs exactly once, last in first
//! out, whether the body returns, fails, panics or is dropped.** They run after the catch, not
//! while unwinding, and each under a limit; one that panics, fails or hangs skips none of the
//! others. When the future is dropped, the rest of the stack goes to the
//! [reaper](mod@crate::reaper). What happened to every one of them is in the [`CleanupReport`].
//!
//! **A cleanup that fails does not change the outcome.** Its error is in the report and has a line
//! in the log; the caller gets what the body returned. Where the cleanup decides whether the work
//! is done, as a flush or a commit does, take [`Scope::defer_outcome_async`], which can turn the
//! outcome into an error, or do it in the body.
//!
//! ```
//! # use steadfast_core as steadfast;
//! use std::time::Duration;
//! use steadfast::scope;
//! # struct Hold; impl Hold {
//! #     async fn release(self) -> Result<(), std::io::Error> { Ok(()) }
//! #     async fn confirm(&mut self) -> Result<(), std::io::Error> { Ok(()) } }
//! # async fn hold() -> Result<Hold, std::io::Error> { Ok(Hold) }
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let order = scope("create_order")
//!     .timeout(Duration::from_secs(5))
//!     .run(async |s| {
//!         let mut hold = s.own("release hold", hold().await?, async |h| h.release().await);
//!         s.defer("count", || println!("one order less to count"));
//!         s.spawn("notify", async { /* a child: joined before the cleanups run */ });
//!         hold.confirm().await?;
//!         hold.disarm();
//!         Ok(4711)
//!     })
//!     .await;
//! assert_eq!(order.unwrap(), 4711);
//! # }
//! ```
//!
//! # The report
//! [`ScopeBuilder::on_report`] gives it to a callback; it prints as a table:
//!
//! ```
//! # use steadfast_core as steadfast;
//! use steadfast::scope;
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let ended = scope("import")
//!     .on_report(|report| println!("{report}"))
//!     .run(async |s| {
//!         s.defer_async("flush", async || Err::<(), _>("disk full"));
//!         s.defer("count", || ());
//!         Ok(3)
//!     })
//!     .await;
//! // import ended ok
//! //   count                ran (2.1µs)  [src/main.rs:7]
//! //   flush                failed: disk full (1.2µs)  [src/main.rs:6]
//! assert_eq!(ended.unwrap(), 3, "the error is in the report");
//! # }
//! ```
//!
//! # Choosing a form
//! - [`defer!`](crate::defer!): a block guard on the stack, from `Drop`; the cheapest.
//! - [`ScopeBuilder::run_sync`]: on one thread; cleanups may borrow.
//! - [`ScopeBuilder::run`]: async, with children, timeout, cancellation.
//!
//! # Order across scopes
//! A scope waits for its children, and for inner scopes whose future was dropped, before its own
//! cleanups run: an outer "close the connection" never overtakes an inner "roll back". This
//! holds for up to 64 scopes inside each other.
//!
//! # The promise and the runtime
//! "Always" needs a runtime that outlives its scopes. [`run`](crate::run()) gives that. Under a
//! foreign runtime the promise is weaker, and exactly this: when the runtime ends first, the
//! cleanups run on the reaper's fallback thread, where I/O that belongs to the dead runtime fails
//! and is reported as [`CleanupStatus::RuntimeGone`].

mod build;
mod end;
#[cfg(feature = "test-util")]
mod fault;
mod handle;
mod outcome;
mod owned;
mod pending;
mod report;
mod run;
mod stack;
mod stray;
mod sync;
mod timer;
mod unwind;

use std::error::Error;

pub use build::{CLEANUP_LIMIT, ScopeBuilder, scope};
pub use handle::{CleanupHandle, Edit, OutcomeHandle, Scope};
pub use outcome::{Outcome, ScopeError, Verdict};
pub use owned::Owned;
pub use report::{CleanupEntry, CleanupReport, CleanupResult, CleanupStatus};
pub use sync::{SyncCleanupHandle, SyncOutcomeHandle, SyncOwned, SyncScope};

pub(crate) use end::EVENTS;
pub(crate) use pending::{Pending, PendingGuard, What};

/// An error of any type, with its sources.
pub type BoxError = Box<dyn Error + Send + Sync>;

type OnReport = Box<dyn FnOnce(&CleanupReport) + Send>;
