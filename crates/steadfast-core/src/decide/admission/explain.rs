//! What whoever is rejected is told.

use std::fmt;
use std::time::Duration;

use super::queue::{AdmissionQueue, Rejection, Ticket, Waiter};
use crate::context::Tier;

/// Tells whoever is rejected why, by how much, and when to come again.
///
/// Its text is one sentence for people, such as `1000 requests wait, and at most 1000 may`.
///
/// # Examples
///
/// ```
/// use steadfast_core::context::Tier;
/// use steadfast_core::decide::admission::{AdmissionConfig, AdmissionQueue, Offer, Waiter};
///
/// let config = AdmissionConfig { waiting_max: 1, ..AdmissionConfig::default() };
/// let mut queue = AdmissionQueue::new(config)?;
/// let waiter = Waiter::new(Tier::DEFAULT);
/// let _first = queue.offer(waiter, 0);
///
/// let Offer::Rejected(why) = queue.offer(waiter, 0) else { unreachable!() };
/// let told = queue.explain_arrival(why, &waiter, 0);
/// assert_eq!(told.to_string(), "1 requests wait, and at most 1 may");
/// assert_eq!(told.retry_after.as_millis(), 100);
/// # Ok::<(), steadfast_core::decide::admission::InvalidAdmission>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Why.
    pub reason: Rejection,
    /// What was held against which bound.
    pub measured: Measured,
    /// When there is a chance again: once those who wait now have had their turn. From
    /// [`AdmissionConfig::standing_after`](super::AdmissionConfig::standing_after), which is also
    /// the answer while the pace is not known, to [`RETRY_AFTER_MAX`](Self::RETRY_AFTER_MAX). A
    /// hint, to be spread by whoever follows it.
    pub retry_after: Duration,
}

/// A bound and what was found instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// Requests that wait.
    Waiting {
        /// How many may.
        limit: u32,
        /// How many do.
        observed: u32,
    },
    /// The time from arrival to answer, for who was rejected on arrival.
    Answer {
        /// How much there is until the deadline.
        limit: Duration,
        /// How much it would take at least.
        observed: Duration,
    },
    /// The time in the queue, for who was rejected after it.
    Waited {
        /// How much there was, by the deadline or by
        /// [`AdmissionConfig::wait_max`](super::AdmissionConfig::wait_max).
        limit: Duration,
        /// How much it was.
        observed: Duration,
    },
}

// === impl Explanation ===

impl Explanation {
    /// The longest retry-after: 30 seconds. What the queue says about a later moment is a guess.
    pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.measured, self.reason) {
            (Measured::Waiting { limit, observed }, Rejection::Displaced) => write!(
                f,
                "{observed} requests wait, at most {limit} may, and the place went to one that \
                 is served earlier"
            ),
            (Measured::Waiting { limit, observed }, _) => {
                write!(f, "{observed} requests wait, and at most {limit} may")
            }
            (Measured::Answer { limit, observed }, _) => {
                write!(
                    f,
                    "an answer would take {observed:?}, and {limit:?} are left"
                )
            }
            (Measured::Waited { limit, observed }, _) => {
                write!(
                    f,
                    "it has waited for {observed:?}, and {limit:?} were possible"
                )
            }
        }
    }
}

// === impl AdmissionQueue ===

impl AdmissionQueue {
    /// Explains a rejection on arrival, right after it, with the same `now`.
    #[must_use]
    pub fn explain_arrival(&self, why: Rejection, waiter: &Waiter, now: u64) -> Explanation {
        let measured = match why {
            Rejection::Full | Rejection::Displaced => self.measure_waiting(),
            Rejection::TooLate => {
                let wait_ns = self.expected_wait_ns(waiter.tier, now);
                Measured::Answer {
                    limit: Duration::from_nanos(waiter.deadline.saturating_sub(now)),
                    observed: Duration::from_nanos(wait_ns.saturating_add(waiter.service_ns)),
                }
            }
        };
        self.explain(why, measured, waiter.tier, now)
    }

    /// Explains the rejection of somebody who waited, at the `now` at which it was decided.
    #[must_use]
    pub fn explain_waiter(&self, why: Rejection, ticket: Ticket, now: u64) -> Explanation {
        let measured = match why {
            Rejection::Full | Rejection::Displaced => self.measure_waiting(),
            Rejection::TooLate => Measured::Waited {
                limit: Duration::from_nanos(ticket.leave_at.saturating_sub(ticket.since)),
                observed: Duration::from_nanos(now.saturating_sub(ticket.since)),
            },
        };
        self.explain(why, measured, ticket.tier(), now)
    }

    fn explain(&self, reason: Rejection, measured: Measured, tier: Tier, now: u64) -> Explanation {
        let least = self.config().standing_after;
        let drained = self.drained_after_ns(tier, now).map(Duration::from_nanos);
        Explanation {
            reason,
            measured,
            retry_after: drained
                .unwrap_or(least)
                .max(least)
                .min(Explanation::RETRY_AFTER_MAX),
        }
    }

    fn measure_waiting(&self) -> Measured {
        Measured::Waiting {
            limit: self.config().waiting_max,
            observed: self.len() as u32,
        }
    }
}
