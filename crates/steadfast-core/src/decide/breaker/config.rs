//! When to trip, how to probe, how to come back.

use std::time::Duration;

/// Says when a breaker trips, how it probes and how it comes back.
///
/// Begins without any reason to trip, because thresholds are policy and have no default; set at
/// least one. All else are bounds, whose defaults have their reason beside them.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use steadfast_core::decide::breaker::{Breaker, BreakerConfig};
///
/// let config = BreakerConfig::new()
///     .with_failure_share(0.25)?
///     .with_consecutive(20)?
///     .with_slow(Duration::from_millis(800), 0.5)?;
/// let breaker = Breaker::new(config, 7)?;
/// assert!(breaker.is_closed(0));
/// # Ok::<(), steadfast_core::decide::breaker::InvalidBreaker>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    pub(super) failure_ppm: Option<u32>,
    pub(super) slow: Option<Slow>,
    pub(super) consecutive: Option<u32>,
    pub(super) min_calls: u32,
    pub(super) window_ns: u64,
    pub(super) probes: u32,
    pub(super) patience_ns: u64,
    pub(super) first_open_ns: u64,
    pub(super) longest_open_ns: u64,
    pub(super) ramp_ns: u64,
}

/// Which calls are slow, and how many of them are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slow {
    pub(super) over_ns: u64,
    pub(super) ppm: u32,
}

/// Refuses a breaker whose numbers are out of range, or that could never trip.
///
/// The message names the bound. Trying again with the same numbers fails again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct InvalidBreaker(#[from] Refusal);

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no failure share, no slow share and no consecutive failures, so it never trips")]
    NeverTrips,
    #[error("{name} {value} is not over 0 and up to 1")]
    Share { name: &'static str, value: f64 },
    #[error("{name} {value} is not from 1 to {most}")]
    Count {
        name: &'static str,
        value: u32,
        most: u32,
    },
    #[error("{name} {value:?} is not from {least:?} to {most:?}")]
    Time {
        name: &'static str,
        value: Duration,
        least: Duration,
        most: Duration,
    },
    #[error("first open time {first:?} is over the longest {longest:?}")]
    Swapped { first: Duration, longest: Duration },
}

const PPM: f64 = 1_000_000.0;

// === impl BreakerConfig ===

impl BreakerConfig {
    /// How many calls a window needs before its shares mean anything, unless set: 20.
    ///
    /// Below that, a single failure is more than 5 %, and chance looks like an outage.
    pub const DEFAULT_MIN_CALLS: u32 = 20;

    /// The most `min_calls`, and the most failures in a row: a million.
    pub const MAX_CALLS: u32 = 1_000_000;

    /// How far back is looked, unless set: 10 s.
    ///
    /// Long enough for twenty calls at two a second, short enough that an outage shows within
    /// seconds.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(10);

    /// The shortest window: 100 ms, whose ten parts are as short as a turn of them bears.
    pub const SHORTEST_WINDOW: Duration = Duration::from_millis(100);

    /// The longest window: 10 minutes. What went wrong before is history.
    pub const LONGEST_WINDOW: Duration = Duration::from_secs(10 * 60);

    /// The probes of a round, unless set: 10, enough to tell one failure in ten from a target that
    /// is down.
    pub const DEFAULT_PROBES: u32 = 10;

    /// The most probes of a round: 1,000. With more, a round is no probe but traffic.
    pub const MAX_PROBES: u32 = 1_000;

    /// How long a round lasts at most, unless set: 10 s.
    ///
    /// It should be more than the timeout of a call. Whatever permit has not come back by then is
    /// not waited for.
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(10);

    /// The first open time, unless set: 1 s, so that a restart of the target costs a second more
    /// than it takes.
    pub const DEFAULT_FIRST_OPEN: Duration = Duration::from_secs(1);

    /// The longest open time, unless set: 30 s, after which a target that is back is found.
    pub const DEFAULT_LONGEST_OPEN: Duration = Duration::from_secs(30);

    /// The time of the ramp, unless set: 5 s, in which pools and caches of a target fill.
    pub const DEFAULT_RAMP: Duration = Duration::from_secs(5);

    /// The shortest open time and the shortest patience: 100 ms.
    pub const SHORTEST_OPEN: Duration = Duration::from_millis(100);

    /// The longest open time, patience and ramp that can be set: 10 minutes. What is off for
    /// longer is decided by people: see [`Breaker::force`](super::Breaker::force).
    pub const LONGEST_OPEN: Duration = Duration::from_secs(10 * 60);

    /// The share at which a round fails where no [failure share](Self::with_failure_share) is set:
    /// half of its probes.
    pub const DEFAULT_PROBE_SHARE: f64 = 0.5;

    /// Begins with the defaults, and without a reason to trip.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            failure_ppm: None,
            slow: None,
            consecutive: None,
            min_calls: Self::DEFAULT_MIN_CALLS,
            window_ns: nanos(Self::DEFAULT_WINDOW),
            probes: Self::DEFAULT_PROBES,
            patience_ns: nanos(Self::DEFAULT_PATIENCE),
            first_open_ns: nanos(Self::DEFAULT_FIRST_OPEN),
            longest_open_ns: nanos(Self::DEFAULT_LONGEST_OPEN),
            ramp_ns: nanos(Self::DEFAULT_RAMP),
        }
    }

    /// Trips when at least this part of a window's calls failed, and a round when at least this
    /// part of its probes did. Kept in millionths.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`] unless it is over 0 and up to 1.
    pub fn with_failure_share(mut self, share: f64) -> Result<Self, InvalidBreaker> {
        self.failure_ppm = Some(ppm("failure share", share)?);
        Ok(self)
    }

    /// Trips when at least this `share` of a window's calls took longer than `over`, whether they
    /// succeeded or not.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`] unless the share is over 0 and up to 1, and `over` from 1 ms to
    /// [`LONGEST_OPEN`](Self::LONGEST_OPEN).
    pub fn with_slow(mut self, over: Duration, share: f64) -> Result<Self, InvalidBreaker> {
        let least = Duration::from_millis(1);
        self.slow = Some(Slow {
            over_ns: time("slow threshold", over, least, Self::LONGEST_OPEN)?,
            ppm: ppm("slow share", share)?,
        });
        Ok(self)
    }

    /// Trips after this many failures without a success between them.
    ///
    /// It is its own minimum of calls: a route that gets a call a minute fills no window, and this
    /// is the reason that protects it.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`] unless it is from 1 to [`MAX_CALLS`](Self::MAX_CALLS).
    pub fn with_consecutive(mut self, failures: u32) -> Result<Self, InvalidBreaker> {
        self.consecutive = Some(count("consecutive", failures, Self::MAX_CALLS)?);
        Ok(self)
    }

    /// Sets how many calls a window needs before its shares are judged.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`] unless it is from 1 to [`MAX_CALLS`](Self::MAX_CALLS).
    pub fn with_min_calls(mut self, calls: u32) -> Result<Self, InvalidBreaker> {
        self.min_calls = count("min_calls", calls, Self::MAX_CALLS)?;
        Ok(self)
    }

    /// Sets how far back is looked.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`] unless it is from [`SHORTEST_WINDOW`](Self::SHORTEST_WINDOW) to
    /// [`LONGEST_WINDOW`](Self::LONGEST_WINDOW).
    pub fn with_window(mut self, window: Duration) -> Result<Self, InvalidBreaker> {
        let (least, most) = (Self::SHORTEST_WINDOW, Self::LONGEST_WINDOW);
        self.window_ns = time("window", window, least, most)?;
        Ok(self)
    }

    /// Sets how many calls probe the target in a round, and how long a round lasts at most.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`] unless there are from 1 to [`MAX_PROBES`](Self::MAX_PROBES), and the
    /// patience is from [`SHORTEST_OPEN`](Self::SHORTEST_OPEN) to
    /// [`LONGEST_OPEN`](Self::LONGEST_OPEN).
    pub fn with_probes(mut self, probes: u32, patience: Duration) -> Result<Self, InvalidBreaker> {
        let (least, most) = (Self::SHORTEST_OPEN, Self::LONGEST_OPEN);
        self.probes = count("probes", probes, Self::MAX_PROBES)?;
        self.patience_ns = time("patience", patience, least, most)?;
        Ok(self)
    }

    /// Sets how long the breaker stays open the first time, and at most.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`] unless both are from [`SHORTEST_OPEN`](Self::SHORTEST_OPEN) to
    /// [`LONGEST_OPEN`](Self::LONGEST_OPEN), and the first is not over the longest.
    pub fn with_open_time(
        mut self,
        first: Duration,
        longest: Duration,
    ) -> Result<Self, InvalidBreaker> {
        let (least, most) = (Self::SHORTEST_OPEN, Self::LONGEST_OPEN);
        self.first_open_ns = time("first open time", first, least, most)?;
        self.longest_open_ns = time("longest open time", longest, least, most)?;
        if first > longest {
            return Err(Refusal::Swapped { first, longest }.into());
        }
        Ok(self)
    }

    /// Sets how long it takes from the first calls after a round that went well to all of them;
    /// zero for no ramp.
    ///
    /// # Errors
    ///
    /// [`InvalidBreaker`] if it is over [`LONGEST_OPEN`](Self::LONGEST_OPEN).
    pub fn with_ramp(mut self, ramp: Duration) -> Result<Self, InvalidBreaker> {
        self.ramp_ns = time("ramp", ramp, Duration::ZERO, Self::LONGEST_OPEN)?;
        Ok(self)
    }

    /// Returns the failure share, if it trips by one.
    #[must_use]
    pub fn failure_share(&self) -> Option<f64> {
        self.failure_ppm.map(|ppm| f64::from(ppm) / PPM)
    }

    /// Returns when a call is slow, and the share of slow ones, if it trips by one.
    #[must_use]
    pub fn slow(&self) -> Option<(Duration, f64)> {
        let slow = self.slow?;
        Some((
            Duration::from_nanos(slow.over_ns),
            f64::from(slow.ppm) / PPM,
        ))
    }

    /// Returns how many failures in a row make it trip, if any do.
    #[must_use]
    pub fn consecutive(&self) -> Option<u32> {
        self.consecutive
    }

    /// Refuses what could never trip.
    pub(super) fn check(&self) -> Result<(), InvalidBreaker> {
        if self.failure_ppm.is_none() && self.slow.is_none() && self.consecutive.is_none() {
            return Err(Refusal::NeverTrips.into());
        }
        Ok(())
    }

    pub(super) fn is_slow(&self, took: Duration) -> bool {
        self.slow
            .is_some_and(|slow| took.as_nanos() > u128::from(slow.over_ns))
    }

    /// The part of a round's probes that fails it.
    pub(super) fn probe_ppm(&self) -> u32 {
        self.failure_ppm
            .unwrap_or((Self::DEFAULT_PROBE_SHARE * PPM) as u32)
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self::new()
    }
}

// === impl InvalidBreaker ===

/// Says whether a part of a whole is at least a share of it.
pub(super) fn reaches(part: u32, whole: u32, ppm: u32) -> bool {
    u64::from(part) * PPM as u64 >= u64::from(ppm) * u64::from(whole)
}

const fn nanos(time: Duration) -> u64 {
    // Bounded by hours wherever it is used.
    time.as_nanos() as u64
}

fn ppm(name: &'static str, value: f64) -> Result<u32, Refusal> {
    // At least one millionth, so that a share over 0 does not become "always".
    if value > 0.0 && value <= 1.0 {
        Ok(((value * PPM).round() as u32).max(1))
    } else {
        Err(Refusal::Share { name, value })
    }
}

fn count(name: &'static str, value: u32, most: u32) -> Result<u32, Refusal> {
    if (1..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Refusal::Count { name, value, most })
    }
}

fn time(
    name: &'static str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<u64, Refusal> {
    if (least..=most).contains(&value) {
        Ok(nanos(value))
    } else {
        Err(Refusal::Time {
            name,
            value,
            least,
            most,
        })
    }
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;
    use crate::decide::breaker::Breaker;

    #[test]
    fn numbers_out_of_range_are_refused_with_their_bound() {
        let secs = Duration::from_secs;
        let millis = Duration::from_millis;
        let config = BreakerConfig::new();
        let check = |made: Result<BreakerConfig, InvalidBreaker>, part: &str| {
            let message = made.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };

        check(
            config.with_failure_share(0.0),
            "failure share 0 is not over 0",
        );
        check(config.with_failure_share(f64::NAN), "NaN is not over 0");
        check(
            config.with_failure_share(1.1),
            "1.1 is not over 0 and up to 1",
        );
        check(config.with_slow(secs(1), 0.0), "slow share 0 is not");
        check(
            config.with_slow(secs(0), 0.5),
            "slow threshold 0ns is not from 1ms to 600s",
        );
        check(
            config.with_consecutive(0),
            "consecutive 0 is not from 1 to 1000000",
        );
        check(
            config.with_min_calls(1_000_001),
            "min_calls 1000001 is not from 1",
        );
        check(
            config.with_window(millis(99)),
            "window 99ms is not from 100ms to 600s",
        );
        check(
            config.with_probes(0, secs(1)),
            "probes 0 is not from 1 to 1000",
        );
        check(config.with_probes(1_001, secs(1)), "probes 1001 is not");
        check(
            config.with_probes(1, secs(601)),
            "patience 601s is not from 100ms",
        );
        check(
            config.with_open_time(millis(1), secs(1)),
            "first open time 1ms is not",
        );
        check(
            config.with_open_time(secs(1), Duration::MAX),
            "longest open time",
        );
        check(
            config.with_open_time(secs(2), secs(1)),
            "2s is over the longest 1s",
        );
        check(
            config.with_ramp(secs(601)),
            "ramp 601s is not from 0ns to 600s",
        );
    }

    #[test]
    fn a_breaker_that_could_never_trip_is_refused() {
        let message = Breaker::new(BreakerConfig::new(), 0)
            .unwrap_err()
            .to_string();

        assert!(message.ends_with("so it never trips"), "{message}");
    }

    #[test]
    fn reasons_to_trip_are_told_as_they_were_given() {
        let config = BreakerConfig::new();
        assert_eq!((config.failure_share(), config.slow()), (None, None));

        let second = Duration::from_secs(1);
        let config = config.with_failure_share(0.25).unwrap();
        let config = config.with_slow(second, 0.5).unwrap();
        let config = config.with_consecutive(7).unwrap();

        assert_eq!(config.failure_share(), Some(0.25));
        assert_eq!(config.slow(), Some((second, 0.5)));
        assert_eq!(config.consecutive(), Some(7));
    }

    #[test]
    fn a_share_is_reached_exactly_at_its_number() {
        let seven = BreakerConfig::new().with_failure_share(0.07).unwrap();
        let ppm = seven.failure_ppm.unwrap();

        assert!(reaches(7, 100, ppm) && !reaches(6, 100, ppm));
        assert!(reaches(u32::MAX, u32::MAX, 1_000_000));
    }
}
