//! Groups of tasks that are started in order, restarted when they fail, and stopped in reverse.
//!
//! # The problem
//! A service lives on a few tasks that never end: the one that consumes a queue, the one that
//! renews a lease, the one that listens. Each will fail some day. Started with a bare spawn, it
//! then is gone, without a line in the log, while the health check still says that all is well.
//!
//! # Why the usual answer fails
//! A loop around the task restarts it, and answers none of the questions that decide an outage.
//! What if it fails each time, all day: who notices, who gives up? What about the sibling that
//! holds a channel to the dead one? In which order do they stop, and how long may each take? What
//! if the panic comes from a `Drop`, while the loop drops what is left of the task, and takes the
//! loop along? What does the loop do in a shutdown?
//!
//! # The tool
//! A [`Supervisor`] is a group of [children](Child), each with a name, a factory that makes its
//! future anew for each life, and terms. It follows the documented behavior of OTP's supervisors,
//! as [`decide::restart`](crate::decide::restart) tells in detail:
//!
//! - **Start** in order, each child after the one before is [ready](ChildContext::ready).
//!   [`start`](SupervisorBuilder::start) returns when all are, or undoes what it did.
//! - **Restart** by the child's terms ([`Restart`]), after a [backoff](Backoff) with jitter; by
//!   the group's [`Strategy`] alone, with all others, or with those after it.
//! - **Escalate** when there are more restarts than the [`Intensity`] allows: the group stops all
//!   its children and fails. A group further out takes that for a failure of one of its children;
//!   at the root it is what [`ended`](Supervisor::ended) gives, and by `?` the exit code of
//!   [`run`](crate::run()).
//! - **Stop** in reverse order. A child is asked first
//!   ([`stopping`](ChildContext::stopping)), with a limit; then aborted: dropped at its next
//!   await, as a scope that is cancelled; then, if it blocks its thread, written off.
//!
//! # What is promised
//! - **No child dies silently.** Every end is a line in the log with name, place of description,
//!   run, trace id and reason, and is judged by the child's terms.
//! - **Everything of a child that can panic is that child's failure**: its factory and the clones
//!   it makes, its future, the drop of that, the payload of the panic, its error, its cleanups, its
//!   [`normal_if`](Child::normal_if). Siblings, group and process go on. An observer that panics
//!   is contained and reported. For what cannot be contained see
//!   [`panic`](mod@crate::panic).
//! - **The [`Snapshot`] is true at every moment.** An end is in the books when it happens, not when
//!   some task gets to hear of it: what is dead is never shown as running.
//! - **A child lives once.** The next life starts after the future of the one before is dropped,
//!   its tasks have ended and its [cleanups](ChildContext::scope) have run: the port is free
//!   again. What cannot be ended is never started a second time, nor is a group that has it inside.
//! - **Every wait has a limit**: getting ready, stopping, ending after an abort, restarting.
//!
//! # Each life is a scope
//! Its path is that of the group and its own name; its trace id is new. It has
//! [cleanups and tasks](ChildContext::scope) of its own, which end before it counts as ended. A
//! request to stop is a token that the child watches, and no more: scopes inside go on, so that
//! what has begun may come to its end. An abort cancels them.
//!
//! # The end of the group
//! By [`stop`](Supervisor::stop), by a [token](SupervisorBuilder::stop_on) such as that of
//! [`Shutdown`](crate::Shutdown), by failure, or because its significant children are done
//! ([`AutoShutdown`]). Dropping the last handle stops it, too, in good order, in the background;
//! [`reaper::drain`](crate::reaper::drain) waits for it. When the runtime is shut down, all children
//! are dropped by it, their cleanups go to the [reaper](mod@crate::reaper), and whoever waits for
//! the group on another runtime gets an [error](GroupError::is_aborted).
//!
//! # What it tells
//! Events to [observers](SupervisorBuilder::observe) and, under the target
//! `steadfast::supervise`, to `tracing`; numbers to [`report`](mod@crate::report):
//!
//! | metric | labels | |
//! |---|---|---|
//! | `steadfast_supervise_running` | `group` | whether all was started and nothing has ended it |
//! | `steadfast_supervise_restarts_counted` | `group` | restarts that count against the intensity now |
//! | `steadfast_supervise_restarts_max` | `group` | how many are allowed |
//! | `steadfast_supervise_children` | `group`, `state` | children in each [state](ChildState) |
//! | `steadfast_supervise_starts_total` | `group`, `child` | lives so far |
//! | `steadfast_supervise_restarts_total` | `group`, `child` | restarts that the child's own ends led to |
//!
//! # Examples
//! A consumer that runs for as long as the process, fails now and then, and stops between two
//! messages:
//!
//! ```
//! # use steadfast_core as steadfast;
//! # // Paused time: the backoff below costs nothing here.
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use steadfast::supervise::{Child, ChildContext, Intensity, Rules, Strategy, Supervisor};
//! use steadfast::{BoxError, clock};
//! # use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
//! # #[derive(Clone, Default)] struct Queue(Arc<AtomicU32>);
//! # impl Queue {
//! #     async fn connect(&self) -> Result<Queue, BoxError> { Ok(self.clone()) }
//! #     async fn next(&self) -> Result<u32, BoxError> {
//! #         clock::sleep(Duration::from_secs(1)).await;
//! #         match self.0.fetch_add(1, Ordering::Relaxed) {
//! #             3 => Err("connection reset".into()),
//! #             message => Ok(message),
//! #         }
//! #     }
//! #     async fn close(self) {}
//! # }
//! # async fn handle(message: u32) { assert_ne!(message, 5, "message 5 is malformed"); }
//!
//! async fn consume(child: ChildContext, queue: Queue) -> Result<(), BoxError> {
//!     let queue = queue.connect().await?;
//!     // Closed in every way out, before the next life connects.
//!     let queue = child.scope().own("close", queue, async |queue| queue.close().await);
//!     child.ready();
//!     // The token ends the wait for a message, never the work on one.
//!     while let Ok(message) = child.stop_token().run(queue.next()).await {
//!         handle(message?).await;
//!     }
//!     Ok(())
//! }
//!
//! let queue = Queue::default();
//! // A tenth failure within five minutes is not "now and then" any more.
//! let intensity = Intensity::new(9, Duration::from_secs(300))?;
//! let group = Supervisor::builder("ingest", Rules::new(Strategy::OneForOne, intensity))
//!     .child(
//!         Child::permanent("consumer", move |child| consume(child, queue.clone()))
//!             .ready_within(Duration::from_secs(10))
//!             .stop_within(Duration::from_secs(20)),
//!     )
//!     .start()
//!     .await?;
//!
//! clock::sleep(Duration::from_secs(60)).await;
//! let snapshot = group.snapshot();
//! let consumer = snapshot.child("consumer").expect("it is permanent");
//! assert_eq!(consumer.restarts, 2, "an error and a panic: {snapshot}");
//! let last = consumer.last_end.as_ref().expect("it has failed");
//! assert!(last.panic().expect("by a panic").message().contains("malformed"));
//!
//! group.stop().await.into_result()?;
//! # Ok(()) }
//! ```
//!
//! Groups inside of groups: what the inner one cannot cure is a failure of the outer one's child.
//!
//! ```
//! # use steadfast_core as steadfast;
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use steadfast::supervise::{Child, ChildContext, Intensity, Restart, Rules, Strategy, Supervisor};
//!
//! async fn until_stopped(child: ChildContext) {
//!     child.stopping().await;
//! }
//!
//! let rarely = Intensity::new(2, Duration::from_secs(60))?;
//! let rules = |strategy| Rules::new(strategy, rarely.clone());
//! let (root, inner) = (rules(Strategy::OneForOne), rules(Strategy::RestForOne));
//! let root = Supervisor::builder("shop", root)
//!     .child(Child::permanent("http", until_stopped))
//!     .child(Child::group("orders", Restart::Permanent, move || {
//!         // The worker needs the connection, and is restarted with it.
//!         Supervisor::builder("orders", inner.clone())
//!             .child(Child::permanent("connection", until_stopped))
//!             .child(Child::permanent("worker", until_stopped))
//!     }))
//!     .start()
//!     .await?;
//!
//! println!("{}", root.snapshot());
//! root.stop().await.into_result()?;
//! # Ok(()) }
//! ```

mod act;
mod builder;
mod child;
mod contained;
mod drive;
mod end;
mod error;
mod event;
mod group;
mod handle;
mod instance;
mod request;
mod snapshot;
mod state;

pub use crate::decide::backoff::{Backoff, Jitter};
pub use crate::decide::restart::{
    AutoShutdown, ChildId, End, Intensity, InvalidRules, Restart, Rules, Strategy,
};
pub(crate) use event::EVENTS;
pub(crate) use snapshot::METRICS;

pub use builder::SupervisorBuilder;
pub use child::Child;
pub use end::{ChildEnd, GroupEnd};
pub use error::{GroupError, RequestError};
pub use event::{ChildRef, Event, EventKind};
pub use handle::Supervisor;
pub use instance::ChildContext;
pub use snapshot::{ChildSnapshot, ChildState, GroupState, Snapshot};
