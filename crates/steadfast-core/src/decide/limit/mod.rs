//! How many requests may be in flight, found by watching how long they take.
//!
//! # The problem
//!
//! A service that is offered more than it can do queues the rest, and then answers everybody too
//! late. A bound on what is in flight prevents that, but which? The right number is the capacity
//! times the time of one request (Little's law), and both change with each release, each noisy
//! neighbor, each slow dependency. A number in a file is wrong by next month, and one that is too
//! high protects nobody.
//!
//! # Why the usual answers fail
//!
//! - *Additive increase, multiplicative decrease* learns from failures. It has to cause time-outs
//!   to find the limit, again and again, and grows without bound while nobody uses it.
//! - *Vegas, sample by sample,* compares each request with the fastest ever seen. Requests differ by
//!   more than queueing does: half of them are slower than the median, and each of those shrinks
//!   the limit. Under a service time that varies it rejects a third of an easy load.
//! - *Gradient* forms compare a short mean with a long one. The long one follows an overload until
//!   the overload looks normal, the limit follows it up, and the queue is back. And they add their
//!   queue allowance in each step, also in those that should shrink.
//! - *The fastest ever seen as a frozen baseline* fails the other way: when the service turns slow
//!   for good, the limit shrinks, which makes nothing faster, so it shrinks again, until one
//!   request at a time is let through.
//!
//! # The tool
//!
//! [`Limit`] steps once a window, from four sums over it. The *gradient* is the tolerated time (a
//! multiple of the baseline) by the mean time. In-flight stands in proportion to the mean time when
//! a queue is there, so the limit times the gradient *is* the limit at which the mean time would be
//! the tolerated one: a single step goes where smoothed forms creep to. Around it:
//!
//! 1. *The queue term only at gradient 1.* The limit grows only when the tolerated time is not
//!    exceeded, and then by what the tolerance leaves, never while it shrinks. With no queue at all
//!    in two windows in a row it climbs by half a window: the mean time then says that there is
//!    room, and not how much.
//! 2. *What was not used teaches nothing.* A window whose peak stayed under half of the limit leaves
//!    it alone, or brings it back to its resting value if it is below.
//! 3. *The baseline is frozen under pressure.* It learns from windows that never touched the limit,
//!    and otherwise only downward. Mean times over a window are compared, never single samples.
//! 4. *The covariance stop.* By the same law, shrinking can do one of two things: shorten the
//!    queue, then throughput stays; or take work away from idle servers, then throughput falls with
//!    what is in flight. Each window of a fall is compared with all before it. Once one of them tells
//!    the two from chance, the second ends the fall: the mean time seen there, where no queue is left,
//!    becomes the baseline, and the limit goes to where the servers were at their best. So a service
//!    that has become slow for good is accepted as it is, after two to five seconds at hundreds of
//!    requests a second, in which it is short of work for one to three.
//! 5. *A check when there was no quiet window for long.* A limit that has been pressed against for
//!    [`LimitConfig::recheck`], or since the start, is let down step by step until the covariance
//!    stop. That costs a few windows of lower throughput, and replaces a baseline that was learned
//!    in the middle of an overload.
//! 6. *Chance moves it little.* A deviation that so many samples show by chance alone is followed at
//!    a fifth of its size, a larger one at once.
//! 7. *Each limit is judged by its own requests.* After a step those of the old limit are let out
//!    first, or one overload would be answered twice.
//!
//! [`Tally`] takes the samples of many threads in two atomics; the step itself runs a few times a
//! second in one of them.
//!
//! # With or without a queue in front
//!
//! [`LimitConfig::bare`] tolerates twice the baseline: as many requests wait behind the limit as are
//! served, which is what keeps the servers busy when a rejected arrival is the next one's chance.
//! [`LimitConfig::queued`] tolerates a fifth more than the baseline. With an admission queue in
//! front the next one is there at once, and each request that waits behind the limit instead of in
//! the queue is one that no priority can overtake any more.
//!
//! # What it cannot see
//!
//! A service whose time does not rise with load (rejections from below, a pool that fails at once)
//! shows no gradient: report those as dropped. And it judges the mean: a route whose requests are
//! of two very different kinds deserves two limits.

mod config;
mod estimate;
mod seen;
mod tally;

#[cfg(all(test, steadfast_loom))]
mod loom;
#[cfg(all(test, not(steadfast_loom)))]
mod tests;

pub use config::{InvalidLimit, LimitConfig};
pub use estimate::Limit;
pub use tally::{Tally, Totals};
