use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use steadfast_core::clock::{self, Timestamp};
use steadfast_core::context::Name;
use steadfast_core::decide::breaker::{Breaker, BreakerState, BreakerStatus, Override, TripReason};
use steadfast_core::decide::policy::nearest_name;

use super::endpoint::Endpoint;
use super::shared::{Asked, Shared};
use super::tally;
use crate::policy::Signed;
use crate::target::EndpointOf;

/// The view of all endpoints of a dependency, and the hand on them. Clones are one.
#[derive(Clone)]
pub struct Breakers {
    shared: Arc<Shared>,
    endpoint_of: Option<EndpointOf>,
}

/// How one endpoint stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// Its name: host and port, unless endpoints are named otherwise.
    pub endpoint: String,
    /// What its breaker does, and what it has seen in its window.
    pub breaker: BreakerStatus,
    /// When and why it tripped last.
    pub last_trip: Option<LastTrip>,
    /// Who holds a hand on it, and why; told as long as it is held.
    pub forced_by: Option<Arc<Signed>>,
}

/// When and why a breaker tripped last.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LastTrip {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: TripReason,
    /// For how long it was open then.
    pub open_for: Duration,
}

/// Refuses to force a breaker.
///
/// Trying again with the same words fails again, unless an endpoint has come meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidForce(#[from] Refusal);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("{0} has no breaker, so there is nothing to force")]
    None(Name),
    #[error("{0} has no endpoint {1:?} so far{2}")]
    Unknown(Name, String, String),
    #[error("{0:?} is not over 0 and up to {most:?}", most = Breaker::LONGEST_OVERRIDE)]
    Time(Duration),
}

impl Breakers {
    pub(crate) fn new(shared: Arc<Shared>, endpoint_of: Option<EndpointOf>) -> Self {
        Self {
            shared,
            endpoint_of,
        }
    }

    /// Gives the name of the dependency.
    pub fn name(&self) -> Name {
        self.shared.name
    }

    /// Tells how each endpoint stands, by name.
    pub fn endpoints(&self) -> Vec<EndpointStatus> {
        let now = clock::nanos();
        let endpoints = self.shared.endpoints();
        endpoints.iter().map(|of| status(of, now)).collect()
    }

    /// Tells whether it only says what it would have rejected.
    pub fn is_shadow(&self) -> bool {
        self.shared.is_shadow()
    }

    /// Makes all breakers do something else for a time: those that are there, and those to come.
    ///
    /// They go on to count, where calls are counted, and when the time is over they do what their own
    /// state says. A second force replaces the first.
    ///
    /// # Errors
    /// [`InvalidForce`] if there is no breaker, or the time is not over zero and up to
    /// [`Breaker::LONGEST_OVERRIDE`].
    pub fn force(
        &self,
        over: Override,
        lasts: Duration,
        signed: Signed,
    ) -> Result<(), InvalidForce> {
        self.check(lasts)?;
        let by = Arc::new(signed);
        self.shared.force_all(over, lasts, &by);
        self.tell_forced("(all)", over, lasts, &by);
        Ok(())
    }

    /// Makes the breaker of one endpoint do something else for a time.
    ///
    /// # Errors
    /// [`InvalidForce`] as [`force`](Self::force), and if there is no such endpoint: it comes with its
    /// first call.
    pub fn force_endpoint(
        &self,
        endpoint: &str,
        over: Override,
        lasts: Duration,
        signed: Signed,
    ) -> Result<(), InvalidForce> {
        self.check(lasts)?;
        let by = Arc::new(signed);
        self.with(endpoint, |found| {
            found.force(over, lasts, &by, clock::nanos())
        })?;
        self.tell_forced(endpoint, over, lasts, &by);
        Ok(())
    }

    /// Ends what is held on all breakers, and on each of them; tells whether anything was.
    pub fn release(&self, signed: &Signed) -> bool {
        let held = self.shared.release_all();
        if held {
            self.tell_released("(all)", signed);
        }
        held
    }

    /// Ends what is held on one endpoint; tells whether anything was.
    ///
    /// # Errors
    /// [`InvalidForce`] if there is no such endpoint.
    pub fn release_endpoint(&self, endpoint: &str, signed: &Signed) -> Result<bool, InvalidForce> {
        let held = self.with(endpoint, |found| found.release(clock::nanos()))?;
        if held {
            self.tell_released(endpoint, signed);
        }
        Ok(held)
    }

    /// Asks whether a call may be made `now`.
    pub(crate) fn ask(&self, request: &Parts, now: u64) -> Asked {
        self.shared.ask(request, self.endpoint_of.as_ref(), now)
    }

    /// Tells whether one more attempt of a call is welcome.
    pub(crate) fn welcomes(&self, request: &Parts) -> bool {
        self.shared.welcomes(request, self.endpoint_of.as_ref())
    }

    fn check(&self, lasts: Duration) -> Result<(), Refusal> {
        if !self.shared.is_there() {
            return Err(Refusal::None(self.shared.name));
        }
        if lasts.is_zero() || lasts > Breaker::LONGEST_OVERRIDE {
            return Err(Refusal::Time(lasts));
        }
        Ok(())
    }

    fn with<R>(&self, name: &str, f: impl FnOnce(&Endpoint) -> R) -> Result<R, Refusal> {
        self.shared.with_named(name, f).map_err(|known| {
            let near = nearest_name(name, known.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean {near:?}?"));
            Refusal::Unknown(self.shared.name, name.to_owned(), near.unwrap_or_default())
        })
    }

    fn tell_forced(&self, endpoint: &str, over: Override, lasts: Duration, by: &Signed) {
        tracing::warn!(
            target: "steadfast::breaker",
            policy = %self.shared.name,
            endpoint,
            lasts_s = lasts.as_secs_f64(),
            author = by.author(),
            reason = by.reason(),
            "an operator {}", forced(over),
        );
    }

    fn tell_released(&self, endpoint: &str, by: &Signed) {
        tracing::warn!(
            target: "steadfast::breaker",
            policy = %self.shared.name,
            endpoint,
            author = by.author(),
            reason = by.reason(),
            "an operator lets go of the breaker"
        );
    }
}

fn forced(over: Override) -> &'static str {
    match over {
        Override::Open => "forces the breaker open",
        Override::Closed => "forces the breaker closed",
        Override::Disabled => "disables the breaker",
    }
}

fn status(endpoint: &Endpoint, now: u64) -> EndpointStatus {
    let breaker = endpoint.breaker().status(now);
    EndpointStatus {
        endpoint: endpoint.name.clone(),
        last_trip: endpoint.last_trip().map(|trip| LastTrip {
            at: trip.at,
            reason: trip.reason,
            open_for: trip.open_for,
        }),
        forced_by: endpoint.forced_by().filter(|_| breaker.forced.is_some()),
        breaker,
    }
}

impl EndpointStatus {
    /// Tells whether all calls pass because the endpoint works.
    pub fn is_closed(&self) -> bool {
        let open = matches!(self.breaker.forced, Some((Override::Open, _)));
        self.breaker.state == BreakerState::Closed && !open
    }
}

/// A line for people.
impl fmt::Display for EndpointStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint)?;
        match self.breaker.state {
            BreakerState::Closed => f.write_str(" is closed")?,
            BreakerState::Open { left } => write!(f, " is open for {left:.1?} more")?,
            BreakerState::HalfOpen { under_way, ended } => {
                write!(
                    f,
                    " is half-open, with {under_way} probes under way and {ended} back"
                )?;
            }
            BreakerState::Ramp { share } => {
                write!(f, " comes back, with {:.0} % of the calls", share * 100.0)?;
            }
        }
        match &self.last_trip {
            Some(trip) if self.breaker.state != BreakerState::Closed => {
                write!(f, " ({})", tally::told(trip.reason))?;
            }
            _ => {
                let counts = self.breaker.calls;
                write!(f, " ({} of {} calls failed)", counts.failed, counts.calls)?;
            }
        }
        if let Some((over, left)) = self.breaker.forced {
            write!(f, "; an operator {} for {left:.1?} more", forced(over))?;
            if let Some(by) = &self.forced_by {
                write!(f, " ({by})")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Breakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Breakers").field(&self.shared).finish()
    }
}
