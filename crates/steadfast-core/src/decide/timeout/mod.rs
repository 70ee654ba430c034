//! How long to wait for an answer, learned from how long answers take.
//!
//! # The problem
//!
//! A timeout that is too short fails calls that would have succeeded, and their callers try again.
//! One that is too long lets a dependency that hangs hold the permits of everybody: at 500 calls a
//! second and 200 permits, a timeout of a second is an outage of all routes. The right number is
//! a little more than healthy calls take, and nobody knows it: it was guessed years ago, and the
//! dependency has changed since.
//!
//! # Why the usual answers fail
//!
//! - *A percentile as the timeout* cuts the slowest calls, sees only the ones that were left, finds
//!   a lower percentile, and cuts those. When the service turns slow it cuts nearly all of them
//!   and never comes back.
//! - *A cut call recorded with the time it got* does not end that: the largest value ever seen is
//!   the timeout itself. It creeps up only as fast as its margin allows.
//! - *Learning from a stall*: when nothing answers, cut calls are all there is. Each second
//!   doubles the timeout, until it stands at its ceiling when it is needed most.
//! - *Not learning when nothing answers* cures that only where nothing at all answers: one dead
//!   replica of three still drives the timeout to its ceiling. And it leaves another trap. A service
//!   that became eight times slower and varies little looks exactly like one that is dead: nothing
//!   answers in time. So nothing is learned, so nothing ever answers in time.
//! - *A ceiling* is a constant. It does not know how many calls a second it stands for.
//!
//! # The tool
//!
//! ```text
//! T = min(max(floor, min(f × q, ceiling, share × permits / λ)), time left)
//! ```
//!
//! [`AdaptiveTimeout`] learns `T` once a second from a [`Sketch`](super::sketch::Sketch):
//!
//! 1. *`f × q`*: twice the 99th percentile of the last ten seconds or so. The margin stands above
//!    the percentile, so that the calls that are cut (one or two in a thousand, if times are
//!    lognormal) are too few to move it.
//! 2. *`floor`*, at least the 99th percentile of healthy days: whatever was learned, healthy calls
//!    pass.
//! 3. *`share × permits / λ`*: by Little's law, `λ` calls a second that all hang for `T` hold
//!    `λ × T` permits. They get their share of the permits and not more. This is in force at any
//!    time, at once and in both directions: no learning is involved when a dependency stalls.
//! 4. *A cut call counts as twice what it was given.* It would have taken longer, and twice is the
//!    step by which the search goes on.
//! 5. *Late, or hanging?* Calls that come late have company that comes just in time. If of all calls
//!    that took more than half of `T` fewer than one in five was answered within it, those that were
//!    cut hang: a replica is dead, and how long answers take is told by the others alone. If fewer
//!    than 5 % of all calls were answered, it is a stall, and tells nothing.
//! 6. *Scouts.* One call in sixteen is given eight times as long, as far as ceiling and permits
//!    allow. Where calls hang by the fifth rule, and more than half of the scouts that went past `T`
//!    were answered all the same, they are late: the timeout doubles. Scouts decide about nothing
//!    else, and are not part of the distribution when they go past `T`.
//! 7. *What a stall leaves behind* is not learned. When it is over, all that it held is answered at
//!    once, after anything up to `T`; for three seconds, one in which many calls took more than half
//!    of `T` still belongs to it.
//! 8. *A bounded step*: at most double upward, so that a second of nonsense costs a factor of two;
//!    a tenth downward, so that a minute of cached answers does not end in cut ones.
//!
//! | parameter | unit | default | reason |
//! |---|---|---|---|
//! | floor, ceiling | time | none | what healthy calls take, and what callers bear, is policy |
//! | factor `f` | | 2 | false timeouts ≤ 0.2 % for lognormal times up to σ = 1 |
//! | quantile `q` | | 0.99 | higher ones rest on too few calls to hold still |
//! | share | part | 0.5 | one thing that stalls leaves as much to all others as it takes |
//!
//! # With which parameters scenario S6 holds
//!
//! The defaults, 100 calls a second, floor = the healthy 99th percentile, ceiling 30 s, no cap of
//! permits. At a hundredth of that rate the timeout follows as many *calls* later, not seconds.
//!
//! # What it does not do
//!
//! It learns the time to the head of the response. Bodies have an idle timeout and a total one.

mod call;
mod config;
mod learn;

pub use call::{CallTimeout, Ended, TimeoutPlan, count_call, record};
pub use config::{InvalidTimeout, TimeoutConfig};
pub use learn::{AdaptiveTimeout, Lesson};
