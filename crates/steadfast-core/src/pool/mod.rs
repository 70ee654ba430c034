//! Pools: a bound on how much runs, a bound on how much waits, and an answer for every task.
//!
//! The usual answers each leave one of the three out. A `JoinSet` or a bare spawn takes all that
//! comes until memory is gone. A semaphore in front of a spawn bounds what runs, and then queues
//! callers without a bound, first come first served, however important they are. A hand-made
//! channel with workers bounds both, and loses a worker with every panic, a task with every race
//! between submit and stop, and the caller's trace id always.
//!
//! A pool here is one queue with workers, in two forms: [`Pool`] runs futures on the tokio
//! runtime in which it was made, [`BlockingPool`] runs closures on threads of its own, for work
//! that computes. Both promise:
//!
//! - **Nothing is lost.** A submission ends in a [`Ticket`] or in [`Rejected`], whatever races
//!   with it. An accepted task ends exactly once: completed, failed, panicked or cancelled, and
//!   its ticket tells which. [`Ticket`] and [`PoolStats`] never disagree: the count is made before
//!   the ticket is released.
//! - **Limits hold at every instant.** At most `workers` tasks run, at most `queue_max` of a tier
//!   wait. When the queue is full the submitter chooses: wait (`submit`), be rejected at once
//!   (`try_submit`), wait until a deadline (`submit_until`).
//! - **Workers do not die.** A panic in a task, in the drop of its future or closure, of its value
//!   or of the panic's payload is contained, reported and handed to the ticket.
//! - **Tasks keep the context of their submitter**: trace id, tier, deadline, the values of
//!   [`context::put`](crate::context::put). They outlive the scopes of the submitter, so their
//!   scope path is the pool's name and their own.
//!
//! # Who is served first
//! The [tier](crate::context::Tier) in the context decides: a worker takes the oldest task of the
//! most important tier that has one. Each tier has a queue with a bound of its own, so that a
//! flood of unimportant work cannot fill the queue in front of important work. Lower tiers do not
//! starve for ever: after [`PASSED_OVER_MAX`] starts in a row that passed them over, the one of
//! their tasks that waits longest starts. How long that is shows as
//! [`oldest_wait`](TierStats::oldest_wait).
//!
//! # Deadlines
//! The deadline in the context of the submission is the task's. A queued task whose deadline has
//! passed when its turn comes never starts; a running async task is cancelled at it (in a runtime
//! whose timers are enabled). A blocking task cannot be interrupted; it may look at
//! [`Context::time_left`](crate::Context::time_left) and
//! [`context::cancel`](crate::context::cancel).
//!
//! # The end
//! `drain` accepts nothing more and lets all that is accepted end. `stop` accepts nothing more and
//! cancels. Both act at the call, may be called often and from anywhere, and their futures are
//! done when the last worker has left; a stop during a drain cuts it short. Dropping the last
//! handle is a drain that nobody waits for. When the runtime of an async pool ends, what is left
//! is cancelled with [`Cause::Dropped`](crate::Cause::Dropped); threads of a blocking pool end
//! with the process.
//!
//! **[`run`](crate::run()) does not wait for pools**, whose tasks may be meant to be given up. Have
//! those that are not drained in the shutdown; pools that still have tasks at the end are named in
//! the log, and the shutdown is not clean:
//!
//! ```
//! # use steadfast_core::{BoxError, Shutdown, pool::Pool, shutdown::Phase};
//! fn drain_at_the_end(shutdown: &Shutdown, pool: Pool) -> Result<(), BoxError> {
//!     shutdown.on(Phase::DrainCore, "drain the pool", async move || pool.drain().await)?;
//!     Ok(())
//! }
//! ```
//!
//! # What a task costs
//! One allocation, two clock readings, and one short lock on either side. A worker that is awake
//! finds the next task without being woken.
//!
//! # Examples
//! ```
//! # use steadfast_core as steadfast;
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use steadfast::pool::{Pool, PoolConfig};
//!
//! let pool = Pool::new(PoolConfig::new("thumbnails", 4))?;
//! let mut tickets = Vec::new();
//! for width in [100, 200, 300] {
//!     tickets.push(pool.submit("scale", async move { width * 2 }).await?);
//! }
//! let mut sum = 0;
//! for ticket in tickets {
//!     sum += ticket.await?;
//! }
//! assert_eq!(sum, 1_200);
//!
//! pool.drain().await;
//! assert!(pool.try_submit("late", async {}).unwrap_err().is_closed());
//! # Ok(()) }
//! ```

mod block_on;
mod blocking;
mod config;
mod crew;
mod door;
mod fallible;
mod gate;
mod inbox;
mod job;
mod line;
mod queue;
mod shared;
mod stats;
mod submit;
mod task;
mod tasks;
mod ticket;
mod worker;

pub(crate) use shared::{EVENTS, unfinished};
pub(crate) use stats::METRICS;

pub use block_on::block_on;
pub use blocking::BlockingPool;
pub use config::{PoolConfig, PoolError};
pub use fallible::Fallible;
pub use line::PASSED_OVER_MAX;
pub use stats::{PoolStats, RunningTask, TierStats};
pub use tasks::Pool;
pub use ticket::{Rejected, Ticket, TicketError};
