//! When to stop calling something that does not work, and when to call it again.
//!
//! # The problem
//!
//! A target that fails all calls costs its callers a timeout each, and a target that is down under
//! too much load is kept down by the calls themselves. Somebody has to notice, stop, and notice
//! when it is over; all of it while many threads call, and without costing them anything on the
//! days on which nothing is wrong, which are nearly all.
//!
//! # Why the usual answers fail
//!
//! - *A count since the start*, or a window that slides only when it is full: after a hundred
//!   thousand good calls, as many failures pass before the share is reached. Scenario S7 shows it.
//! - *A share alone* waits for calls that a quiet route never makes; *failures in a row alone* miss
//!   a target that fails every third call. *Failures alone* miss one that answers everything, ten
//!   times too late.
//! - *A single probe* decides by chance: one lucky answer closes the breaker in front of a target
//!   that is down, one unlucky one keeps it open before one that is up.
//! - *A probe whose caller went away* keeps its permit; when all of them have, the breaker waits
//!   for answers that never come, and is stuck half-open until the process ends.
//! - *An answer that comes late*, to a call from before the trip or from the last round, is counted
//!   in this one, and closes or opens it for no reason.
//! - *From a few probes to all traffic in one step* hits a target with empty caches, which goes
//!   down again. With the same open time everywhere, all callers probe in the same moment, every
//!   time.
//! - *A lock*, or a shared counter of everything, makes the healthy path the expensive one.
//! - *Force closed*, clicked at night, is still in force at the next outage.
//!
//! # The tool
//!
//! ```text
//! closed ──trips──▶ open ──its time is over──▶ half-open ──good──▶ ramp ──time──▶ closed
//!                    ▲                            │                  │
//!                    └───────────bad──────────────┴─────trips────────┘
//! ```
//!
//! A [`Breaker`] is asked before each call and told how it ended.
//!
//! 1. *Closed*, it counts calls, failures and slow calls in a window that slides by tenths. It trips
//!    at a share of failures, a share of slow calls, each once the window has `min_calls`, or at
//!    failures in a row, which need no window. Only failed and slow calls look.
//! 2. *Open*, it rejects, and says until when. The time doubles with each trip up to a bound, and half
//!    of it is chance. After a calm time it begins anew.
//! 3. *Half-open*, it hands out a few permits, tagged with the number of the round. A round is judged
//!    by the shares of its probes, as soon as the missing ones could not turn it. An abandoned permit
//!    goes to the next call. A lost one ends with the round: after `patience` it is judged by
//!    what has come back; if nothing has, it was bad.
//! 4. *The ramp* lets a growing share of the calls pass, from a tenth to all, evenly spread. It counts
//!    and trips as if closed, in a window that was emptied.
//! 5. *Operators* may hold it open, hold it closed or disable it, for a time that must be given.
//!
//! It is never inert: one without a reason to trip is refused. It is never stuck: from each state,
//! time and calls alone lead back to closed if the target works. Both are tested from every state
//! that a few events can lead to.
//!
//! | parameter | unit | default | reason |
//! |---|---|---|---|
//! | failure share, slow share, consecutive | | none | thresholds are policy |
//! | `min_calls` | calls | 20 | below, one failure is over 5 % |
//! | window | time | 10 s | twenty calls at two a second |
//! | probes | calls | 10 | one failure in ten is told from an outage |
//! | patience | time | 10 s | longer than calls may take |
//! | open time | time | 1 s to 30 s | a short outage costs a second more, a long one is found over in half a minute |
//! | ramp | time | 5 s | caches and pools of the target fill |
//!
//! # What to count
//!
//! What says something about the target. Not what we rejected ourselves, and not calls whose
//! callers left: abandon those. A timeout is a failure. What the target rejects because it has too
//! much to do is a failure too, but [retry budgets](crate::decide::budget) and limits answer it
//! better, and earlier.

mod answer;
mod calls;
mod config;
mod forced;
mod live;
mod round;
mod word;

#[cfg(all(test, steadfast_loom))]
mod loom;
#[cfg(all(test, not(steadfast_loom)))]
mod tests;

pub use answer::{
    Answer, BreakerState, BreakerStatus, CallEnd, Change, Override, Permit, Rejected, RejectedBy,
    TripReason, WindowCounts,
};
pub use config::{BreakerConfig, InvalidBreaker};
pub use forced::InvalidOverride;
pub use live::Breaker;
