//! What a robust process needs before it has a network or a database.
//!
//! # The problem
//! A service does not fall over because a call failed. It falls over because of what the failure
//! left behind: a hold that nobody released, a lock that nobody gave back, a panic that sits in a
//! handle nobody reads, a task that died without a line in the log, a shutdown that cut a cleanup
//! in half.
//!
//! # Why the usual answer fails
//! `Drop` runs on the way out, but cannot await, cannot fail, and aborts the process when two of
//! them panic. Code after an await does not run when the future is dropped, and futures are
//! dropped all the time: by timeouts, by `select!`, by clients that leave. `catch_unwind` gives a
//! payload without place or trace. `tokio::spawn` swallows panics. A spawn from `Drop` while the
//! runtime ends is accepted and never runs.
//!
//! # The tool
//! Two ideas carry everything here:
//! - a [`scope`](mod@scope) owns what must be undone, and undoes it whatever happens;
//! - [`recover`](recover()) turns a panic into a value that knows where it came from.
//!
//! Requests, [tasks](spawn()), pool tasks, supervised children and
//! [one-time initializers](once) are all scopes: they have a name, a place in a tree, a
//! [context], a [cause](cancel::Cause) when they are stopped, and an end that is seen.
//!
//! | module | for |
//! |---|---|
//! | [`mod@scope`], [`defer!`], [`reaper`] | cleanups that always run, in order, with a report |
//! | [`recover()`], [`mod@panic`] | panics as values, reported when they happen |
//! | [`spawn()`], [`wait_group`], [`once`] | tasks, waiting for them, doing a thing once |
//! | [`supervise`] | tasks that are restarted when they fail, in groups, with an end to it |
//! | [`pool`] | a bound on what runs and on what waits, and an answer for every task |
//! | [`batch`] | rows from many, written in batches that hurt nobody, acknowledged after the commit |
//! | [`shutdown`], [`run`](run()) | an orderly end, and the runtime that outlives every scope |
//! | [`cancel`], [`context`] | why work stops, and what is known about it |
//! | [`watch`] | stalled runtimes, stuck work, locks that know who holds them |
//! | [`clock`], [`rng`], [`report`] | time, random bits, and what every part tells about itself |
//! | `settings` (feature) | documents in TOML whose mistakes are told with file, line and column |
//! | [`decide`] | the pure decisions behind all of it |
//!
//! # Examples
//! ```
//! # use steadfast_core as steadfast;
//! use steadfast::{ScopeError, scope};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let ended = scope("import")
//!     .run(async |s| {
//!         s.defer_async("close the file", async || { /* runs in every way out */ });
//!         let rows: Vec<u32> = Vec::new();
//!         Ok(rows[0])
//!     })
//!     .await;
//! let Err(ScopeError::Panicked(panic)) = ended else { unreachable!() };
//! assert_eq!(panic.scope_path().to_string(), "import");
//! # }
//! ```
//!
//! # Features
//! None is on by default. `test-util` adds `testing`: a clock moved by hand, a check for leaked
//! tasks, and faults injected at every await and cleanup. `log` adds `context::lines`: the facts of
//! the context in every line that `tracing_subscriber` writes, in whichever format.

pub mod batch;
pub mod cancel;
pub mod clock;
pub mod context;
pub mod decide;
pub mod defer;
pub mod once;
pub mod panic;
pub mod pool;
pub mod reaper;
pub mod report;
pub mod rng;
pub mod scope;
#[cfg(feature = "settings")]
pub mod settings;
pub mod shutdown;
pub mod supervise;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod wait_group;
pub mod watch;

mod observers;
mod recover;
mod runtime;
mod small_fn;
mod task;
mod text;
mod voice;

#[doc(inline)]
pub use cancel::{Cancel, Cause};
#[doc(inline)]
pub use clock::Timestamp;
#[doc(inline)]
pub use context::Context;
#[doc(inline)]
pub use once::{OnceError, OnceInit};
#[doc(inline)]
pub use panic::Panic;
pub use recover::{RecoverAsync, recover, recover_async};
pub use runtime::{
    EXIT_FAILED, EXIT_HARD_LIMIT, EXIT_HURRIED, EXIT_PANIC_ABORT, EXIT_PANICKED, Program, run,
};
#[doc(inline)]
pub use scope::{
    BoxError, CleanupEntry, CleanupHandle, CleanupReport, CleanupResult, CleanupStatus, Outcome,
    Owned, Scope, ScopeBuilder, ScopeError, SyncScope, Verdict, scope,
};
#[doc(inline)]
pub use shutdown::Shutdown;
#[doc(inline)]
pub use supervise::Supervisor;
pub use task::{Task, TaskError, spawn};
#[doc(inline)]
pub use wait_group::WaitGroup;
