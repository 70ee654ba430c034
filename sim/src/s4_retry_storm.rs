//! S4: a target falters for ten seconds, and its callers retry.
//!
//! # The model
//!
//! Ten workers serve 1,000 requests a second; 700 or 800 come, as a Poisson process. Each client
//! waits 250 ms for an attempt and makes up to four. From second 10 to second 20 the target has
//! 30 % of its capacity, by fewer workers or by slower service. Then it has all of it again, and
//! the question is whether its callers let it recover.
//!
//! What a client gave up is not known to the target: the work stays in the queue and is executed,
//! unless the target is told the deadline.
//!
//! # Who competes
//!
//! The [`Client`]s that retry are judged by the rules of [`steadfast::decide::budget`], or retry
//! whatever fails, with or without jitter. A [`Server`] takes everything first in, first out, or
//! protects itself by a small stand-in for the admission of the guard: a bounded queue that turns to
//! last in, first out once it stands, and from which nothing is started that cannot end before its
//! deadline. It stands in for the real one so that this scenario judges the retries.
//!
//! # How it is judged
//!
//! By goodput: requests that got an answer within the 250 ms of one of their attempts.

mod engine;
mod report;

pub use engine::run;
pub use report::Report;

use std::time::Duration;

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scenario {
    /// Requests a second, as a part of the healthy capacity.
    pub load: f64,
    /// How long services take.
    pub service: Service,
    /// What happens to the target from second 10 to second 20.
    pub fault: Fault,
    /// How the clients retry.
    pub client: Client,
    /// How the target protects itself.
    pub server: Server,
    /// Where the random numbers start.
    pub seed: u64,
}

/// How the times of service are distributed around their mean of 10 ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Service {
    /// Exponentially.
    Exponential,
    /// Lognormally with this deviation of the logarithm.
    Lognormal(f64),
}

/// How the capacity falls to 30 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Seven of ten workers are gone; what they had begun, they end.
    FewerWorkers,
    /// All services that begin take 1 / 0.3 times as long.
    SlowerService,
}

/// Who may retry, up to three times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Client {
    /// Whatever fails, at once.
    Naive,
    /// Whatever fails, after a wait with exponential backoff and full jitter.
    NaiveWithJitter,
    /// What [`RetryRule`](steadfast::decide::budget::RetryRule) allows, within this share of the
    /// calls.
    Budget(f64),
}

/// How the target treats what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// First in, first out, without bound, and without knowing who has given up.
    Fifo,
    /// Bounded, last in, first out under a standing queue, and nothing is started that cannot end
    /// in time.
    Protected,
}

/// The capacity of the healthy target, in requests a second.
pub const CAPACITY: f64 = 1_000.0;

/// The part of the capacity that is left during the fault.
pub const LEFT: f64 = 0.3;

/// How long a client waits for an attempt.
pub const CLIENT_TIMEOUT: Duration = Duration::from_millis(250);

/// The most attempts of a request, the first included.
pub const MAX_ATTEMPTS: u8 = 4;

/// When the fault begins.
pub const FAULT_FROM: Duration = Duration::from_secs(10);

/// When the fault is over.
pub const FAULT_UNTIL: Duration = Duration::from_secs(20);

/// How long requests keep coming.
pub const END: Duration = Duration::from_secs(60);
