//! Notices what does not go on: a stalled runtime, stuck work, and locks.
//!
//! # The problem
//! A service that hangs leaves no trace: no error, no panic, no line in the log. One handler
//! calls something that blocks, and every task of the runtime waits behind it. Two requests take
//! two locks in different order. A loop waits for a reply that will never come. What people see
//! is that "it is slow"; what they have is a process that they can only kill.
//!
//! # Why the usual answers fail
//! A health check answers from the runtime it should judge. A timer inside the runtime stalls
//! with it. A debugger shows threads, and a task that waits has none. Locks are worst: neither
//! the standard one nor tokio's knows who holds it. A detector that runs every minute finds the
//! circle, and not the line that closed it. And the trap that is special to async code is
//! invisible to all of them: a future that holds a lock, or was handed one by a fair queue, and
//! that *nobody polls* any more, because it is the other branch of a `select!`, or sits in a
//! stream that nobody drives.
//!
//! # The tool
//! - [`start`] runs a watchdog on a thread of its own. It is told the limits; it looks every
//!   [`tick`](Config::tick) and tells [events](Event): as tracing events of the target
//!   `steadfast::watch`, to [`observe`]rs, and as counters in [`report`](crate::report).
//! - **Runtimes.** It makes a task ready, and looks how long the runtime needs to poll it. When
//!   that takes longer than the limit, the event names the threads that are inside of one poll
//!   for as long, and the tasks and scopes that they poll.
//! - **Work.** [`progress`] promises a sign of progress in every interval; without one for three
//!   intervals the work is told as stuck, and as resumed when it goes on.
//! - **Locks.** [`Mutex`] and [`SyncMutex`] know who holds them, where that was taken, and since
//!   when. Long waits are told with both sides; a wait that closes a circle is told when it
//!   starts, across both kinds of locks, and refused where the lock says so; a lock whose holder
//!   is not polled is told with the place where it was taken.
//!
//! # How far it can be trusted
//! *A holder that is not polled.* While a watchdog runs, every poll in a context of ours notes
//! its begin and its end in its scope or task. A guard is taken inside of a poll of the innermost
//! one; so if that one's last poll ended long ago, the code that took the guard has not run since.
//! A poll that goes on is never told, however long: that is the stall above. A guard that is
//! returned by its scope or moved into another task is out of sight: of the first nothing is
//! claimed any more, and the second is still counted to the task that took it, until
//! [`MutexGuard::adopt`] says where it is. Code outside of any scope or task of ours notes
//! nothing, and nothing is claimed of it.
//!
//! *Handed over, and not polled.* The queue of [`Mutex`] wakes a waiter when it hands it the lock.
//! The lock's own waker stands between the two, so it is known when that was, and whether the
//! waiter was polled since.
//!
//! *Circles.* A thread that is blocked does nothing else: circles through [`SyncMutex`]es are
//! certain. An async wait says less, because futures that are joined run beside each other. So
//! scopes and tasks are told apart; one that waits for several locks at once is in no circle; and
//! one that waits for what it holds itself is not told before the wait is over its limit. What is
//! left: two futures joined within *one* scope, of which one holds and the other waits. Give
//! them scopes of their own.
//!
//! # What it costs
//! Measured on one machine, uncontended: [`SyncMutex`] 43 ns where the standard one takes 14,
//! [`Mutex`] 48 ns where tokio's takes 35. Who holds it stands behind a lock of its own, which is
//! most of the difference. Times come from the last tick of the watchdog and are exact to one
//! tick; while none runs a clock is read instead, which adds 22 ns. A poll in a context costs 4 ns
//! without a watchdog, as before, and 8 ns with one.

#[cfg(feature = "test-util")]
mod by_hand;
mod dog;
mod event;
mod heart;
mod lock;
mod party;
mod polls;
mod progress;
mod time;

#[cfg(feature = "test-util")]
pub use by_hand::{ByHand, start_by_hand};
pub use dog::{Config, StartError, Watchdog, start};
pub use event::{
    Event, Holder, HolderNotPolled, Link, OBSERVERS_MAX, Observer, RuntimeResumed, RuntimeStalled,
    SlowWait, Stuck, WaitCycle, observe,
};
pub use heart::{RUNTIMES_MAX, RuntimesFull};
pub use lock::{Lock, LockError, Mutex, MutexGuard, SyncMutex, SyncMutexGuard};
pub use party::Who;
pub use polls::Busy;
pub use progress::{PROGRESS_MAX, Progress, ProgressError, progress};

pub(crate) use dog::METRICS;
pub(crate) use event::EVENTS;
pub(crate) use polls::{Polled, entering, leaving};
