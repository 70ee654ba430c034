//! Who gets in when there is not enough for all.
//!
//! # The problem
//!
//! A limit says how many may be in flight. Under ten times the load nine of ten requests are too
//! many, and which nine is the question that decides whether the shop still sells. Orders must get
//! through while recommendations are shed; within the orders, one client's loop must not take the
//! turns of a thousand others; and whoever waits must not wait for an answer that comes too late.
//!
//! # Why the usual answers fail
//!
//! - *A limit without tiers* rejects by arrival: core traffic that is 3 % of the load gets 3 % of the
//!   service.
//! - *A priority queue behind the limit* serves core first, once it is in. But the queue is full of
//!   what arrived before, and a full queue rejects core like everybody else.
//! - *A part of the limit reserved for each tier* holds until core bursts: then core is confined to
//!   its part while others use theirs. And what is reserved and not used is lost.
//! - *First in, first out* under a standing queue serves each request just before it is too late, or
//!   just after: all wait for the longest, and work is done for clients that are gone.
//!
//! # The tool
//!
//! [`Gate`] is one atomic word: while nobody waits and there is room, a request passes in one
//! compare-and-swap. Otherwise it goes to the [`AdmissionQueue`], which the shell keeps behind one
//! short lock:
//!
//! 1. *Displacement.* The queue is never full for a more important tier: its arrival evicts the
//!    waiter of the least important tier that would be served last. Nobody's chance is taken who
//!    would have been served before the newcomer anyway.
//! 2. *Guaranteed shares, with borrowing.* A tier that has fewer permits than its share is served
//!    first, in order of importance; then all others are. A share that is not asked for is lent to
//!    whoever asks. So the least important tier need not starve. By default nothing is guaranteed,
//!    and importance alone decides. The same shares hold for room in the queue.
//! 3. *Last in, first out under a standing queue.* A tier whose queue has not been empty for
//!    [`AdmissionConfig::standing_after`] serves the newest first: they can still be answered in
//!    time. A short burst is served in order.
//! 4. *Turns.* Inside a tier, users take turns; who sends more waits behind his own requests.
//! 5. *Can it still finish?* Who would not be answered by its deadline, given the expected wait and
//!    service, is rejected on arrival; who has become so while waiting is rejected when its time
//!    runs out, instead of being served.
//!
//! What a queue in front achieves depends on the limit behind it: requests that wait behind the limit
//! are beyond the reach of all this. See [`LimitConfig::queued`](super::limit::LimitConfig::queued).
//!
//! # How a shell uses them
//!
//! On arrival: [`Gate::try_enter`]; if that fails, lock, [`AdmissionQueue::offer`] and
//! [`AdmissionQueue::fill`]. At the end of a request: [`Gate::leave`], and if it answers
//! [`Leave::HandOver`], lock and [`AdmissionQueue::hand_over`]. After the limit rose: lock and `fill`.
//! When a waiter's time runs out or its client goes: lock and [`AdmissionQueue::remove`]. That is all;
//! what happens when a request leaves between a failed attempt and the lock is tried in every order by
//! a loom model, and what holds after any sequence of these calls by the tests: the limit, each permit
//! and each waiter, and that nobody waits while there is room.
//!
//! Whoever is rejected gets an [`Explanation`]: the reason, the bound, what was found instead, and
//! when to come again.
//!
//! # Examples
//!
//! ```
//! use steadfast_core::context::Tier;
//! use steadfast_core::decide::admission::{
//!     AdmissionConfig, AdmissionQueue, Gate, Leave, Next, Offer, Waiter,
//! };
//!
//! let gate = Gate::new(1);
//! let mut queue = AdmissionQueue::new(AdmissionConfig::default())?;
//! assert!(gate.try_enter(Tier::DEFAULT));
//!
//! // No room: two more wait.
//! assert!(!gate.try_enter(Tier::DEFAULT));
//! let Offer::Queued(_) = queue.offer(Waiter::new(Tier::DEFAULT), 0) else { unreachable!() };
//! let Offer::Queued(core) = queue.offer(Waiter::new(Tier::CORE), 0) else { unreachable!() };
//! queue.fill(&gate, 0, |_| unreachable!("there still is no room"));
//!
//! // The first one ends; its permit goes to core.
//! let mut admitted = None;
//! if gate.leave(Tier::DEFAULT) == Leave::HandOver {
//!     queue.hand_over(&gate, 1_000, |next| admitted = Some(next));
//! }
//! assert_eq!(admitted, Some(Next::Admit(core.ticket)));
//! # Ok::<(), steadfast_core::decide::admission::InvalidAdmission>(())
//! ```

mod config;
mod explain;
mod gate;
mod line;
mod queue;

#[cfg(all(test, steadfast_loom))]
mod loom;
#[cfg(all(test, not(steadfast_loom)))]
mod tests;

pub use config::{AdmissionConfig, InvalidAdmission};
pub use explain::{Explanation, Measured};
pub use gate::{Gate, Leave};
pub use queue::{AdmissionQueue, Next, Offer, Queued, Rejection, Ticket, Waiter};
