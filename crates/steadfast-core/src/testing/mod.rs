//! What tests of services need on top: a clock moved by hand, leaked tasks by name, and faults
//! put where they hurt.
//!
//! # The problem
//! The code that runs when things go wrong is the code that nobody has run. A cleanup is written
//! for a cancellation at an await, and the test cancels at one of twenty; a task is left behind,
//! and the test passes, because the runtime that the test framework drops takes the task with it;
//! a wait of a minute is tested by waiting a second, and fails on a busy machine.
//!
//! # The tool
//! - [`Clock`] moves the time of synchronous code by hand. For async code there is tokio's
//!   paused time; [`clock`](crate::clock) obeys both.
//! - [`LeakCheck`] names the tasks and scopes that this test has started and that still live,
//!   with the places where they were started. It goes with the context, not with the process or
//!   the runtime, so tests may run beside each other.
//! - [`fault`] puts a panic, an error, a delay, a hang or a drop at one of the awaits and
//!   cleanups of a piece of code; [`fault::sweep`] does it at the first, at the second, and so
//!   on, until a run ends untouched, so that nothing is left to chance.
//! - [`watch::start_by_hand`](crate::watch::start_by_hand) is a watchdog without a thread.
//!
//! All of it is behind the feature `test-util`, which is for `dev-dependencies`: without it, the
//! kernel has neither the hooks nor the fields that they need.

pub mod fault;

mod clock;
mod leak;
mod trace;

pub use clock::Clock;
pub use leak::{Leak, LeakCheck, LeakKind};

pub(crate) use clock::{manual_block, manual_now, manual_timestamp};
pub(crate) use trace::{Trace, in_body, in_task};
