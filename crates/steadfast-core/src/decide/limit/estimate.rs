//! The step from the sums of a window to the next limit.

use super::config::{InvalidLimit, LimitConfig};
use super::seen::{Point, Seen, Variation};
use super::tally::Totals;

/// Finds how many requests may be in flight.
///
/// Feed it samples with [`sample`](Self::sample), or, when many threads take part, the
/// [`Totals`] of a [`Tally`](super::Tally) with [`absorb`](Self::absorb), every 10 ms or every 64
/// samples, whichever is earlier, so that windows end on time.
///
/// Time is nanoseconds of one monotonic clock; a `now` older than one before counts as that one.
///
/// # Examples
///
/// ```
/// use steadfast_core::decide::limit::{Limit, LimitConfig};
///
/// const MS: u64 = 1_000_000;
/// let mut limit = Limit::new(LimitConfig::bare())?;
///
/// // Quiet seconds: five in flight, 10 ms each. Nothing presses, nothing changes.
/// let mut now = 0;
/// for _ in 0..1_000 {
///     now += 2 * MS;
///     limit.sample(10 * MS, 5, false, now);
/// }
/// assert_eq!(limit.current(), 100);
///
/// // Pressed against the limit, each takes a tenth of a second: five times the tolerated time.
/// for _ in 0..2_000 {
///     now += MS;
///     let in_flight = limit.current();
///     limit.sample(u64::from(in_flight) * MS, in_flight, false, now);
/// }
/// assert!((18..=22).contains(&limit.current()), "{}", limit.current());
/// # Ok::<(), steadfast_core::decide::limit::InvalidLimit>(())
/// ```
#[derive(Clone, Debug)]
pub struct Limit {
    config: LimitConfig,
    limit: f64,
    /// The mean time of a request, in nanoseconds, when nothing queues.
    baseline: Option<f64>,
    /// How many windows the baseline was learned from, as far as it matters.
    learned: u32,
    /// How much the times vary, measured from window to window.
    variation: Variation,
    /// When the baseline was last confirmed by a window without pressure or by a covariance stop.
    confirmed: Option<u64>,
    /// What was seen on the way down, in descending order of in-flight.
    fall: Vec<Point>,
    /// Whether the last window was pressed against the limit and had no queue.
    has_room: bool,
    /// The limit to return to after the check of the baseline that is going on.
    checking: Option<f64>,
    phase: Phase,
    totals: Totals,
    latest: u64,
}

/// A window collects only what belongs to one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The limit has changed; until this instant requests of the old one come out.
    Settling(u64),
    /// Collecting since this instant.
    Open(u64),
}

/// No step shrinks the limit by more than half or grows it by more than half: two windows of chance
/// in a row do no lasting harm, and ten times the load is answered in four.
const GRADIENT_MIN: f64 = 0.5;
const GRADIENT_MAX: f64 = 1.5;

/// How much of a deviation is followed that may be chance.
const CALM_GAIN: f64 = 0.2;

/// A window is bound by the limit if so much of it was in flight on average.
const BOUND: f64 = 0.75;

/// A window used the limit if its peak reached so much of it.
const USED: f64 = 0.5;

/// How fast the baseline follows. Downward faster than upward, so that it settles on the quieter
/// third of the windows, which have the least queueing in them.
const BASELINE_DOWN: f64 = 0.05;
const BASELINE_UP: f64 = 0.025;

/// Between two checks there are at least so many windows, as many as in the default of
/// [`LimitConfig::recheck`]: where requests are rare and windows long, so are checks.
const CHECK_WINDOWS: f64 = 240.0;

/// What remains of the limit after each step of a check.
const CHECK_STEP: f64 = 0.75;

/// How many points of a fall are kept: halving a thousand times as many as there should be.
const FALL_MAX: usize = 10;

/// How much of the tolerance is needed at least. Arrivals come by chance, however even the service is.
const CALM_TOLERANCE: f64 = 0.25;

/// A difference of so many standard errors is hardly chance: in one window of twenty.
const SIGNIFICANT: f64 = 2.0;

// === impl Limit ===

impl Limit {
    /// Makes a limit at its initial value.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if a number is out of range.
    pub fn new(config: LimitConfig) -> Result<Self, InvalidLimit> {
        config.check()?;
        Ok(Self {
            config,
            limit: f64::from(config.initial),
            baseline: None,
            learned: 0,
            variation: Variation::default(),
            confirmed: None,
            fall: Vec::new(),
            has_room: false,
            checking: None,
            phase: Phase::Open(0),
            totals: Totals::default(),
            latest: 0,
        })
    }

    /// Returns the limit: how many may be in flight.
    #[must_use]
    pub fn current(&self) -> u32 {
        (self.limit.round() as u32).clamp(self.config.min, self.config.max)
    }

    /// Returns the mean time of a request when nothing queues, in nanoseconds, once it is known.
    #[must_use]
    pub fn baseline_ns(&self) -> Option<u64> {
        self.baseline.map(|ns| ns as u64)
    }

    /// Takes a request that ended at `now`, and returns the limit that holds from here on.
    ///
    /// It took `rtt_ns` from its admission; `in_flight` counts it, too; `dropped` says that
    /// something below had too much, such as a time-out or a rejection.
    pub fn sample(&mut self, rtt_ns: u64, in_flight: u32, dropped: bool, now: u64) -> u32 {
        self.absorb(Totals::of(rtt_ns, in_flight, dropped), now)
    }

    /// Takes the sums over requests that ended since the last call, and returns the limit that holds
    /// from here on.
    pub fn absorb(&mut self, totals: Totals, now: u64) -> u32 {
        let now = now.max(self.latest);
        if self.latest == 0 {
            self.phase = Phase::Open(now);
        }
        self.latest = now;
        match self.phase {
            Phase::Settling(until) if now < until => {}
            // These ended before the window opens; time and samples of a window must agree.
            Phase::Settling(_) => self.phase = Phase::Open(now),
            Phase::Open(since) => {
                self.totals.add(totals);
                if self.is_due(now - since) {
                    let seen = Seen::new(self.totals, now - since);
                    self.totals = Totals::default();
                    self.close(seen, now);
                }
            }
        }
        self.current()
    }

    fn is_due(&self, length_ns: u64) -> bool {
        let samples = self.totals.samples.saturating_add(self.totals.dropped);
        length_ns > 0
            && samples >= self.config.samples_min
            && (u128::from(length_ns) >= self.config.window.as_nanos()
                || samples >= LimitConfig::MAX_SAMPLES)
    }

    /// Ends a window: learns from it, steps, and opens the next one.
    fn close(&mut self, seen: Seen, now: u64) {
        let before = self.current();
        if seen.samples == 0.0 {
            // Everything was dropped: that says how much too high the limit is, and nothing else.
            self.limit *= GRADIENT_MIN;
        } else {
            self.variation.note(&seen, before);
            self.learn(&seen, now);
            self.step(&seen, now);
        }
        self.limit = self
            .limit
            .clamp(f64::from(self.config.min), f64::from(self.config.max));
        self.phase = if self.current() == before {
            Phase::Open(now)
        } else {
            Phase::Settling(now + self.settle_ns(&seen) as u64)
        };
    }

    /// How long requests of the old limit come out. While times rise, those that have ended know
    /// less about it than the number of those that have not.
    fn settle_ns(&self, seen: &Seen) -> f64 {
        if self.is_bound(seen) || seen.dropped > 0.0 {
            seen.turnover_ns.max(seen.rtt)
        } else {
            seen.rtt
        }
    }

    /// Lets the baseline follow what was seen, as far as no queue can be in it.
    fn learn(&mut self, seen: &Seen, now: u64) {
        let quiet = seen.peak < self.limit && !self.is_bound(seen);
        let Some(baseline) = self.baseline else {
            self.baseline = Some(seen.rtt);
            self.learned = 1;
            self.confirmed = quiet.then_some(now);
            return;
        };
        if !quiet {
            return;
        }
        let weight = if seen.rtt < baseline {
            BASELINE_DOWN
        } else {
            BASELINE_UP
        };
        // The plain mean of the first ones, so that no single window is remembered for long.
        self.learned = self.learned.saturating_add(1);
        let weight = weight.max(1.0 / f64::from(self.learned));
        self.baseline = Some(baseline + weight * (seen.rtt - baseline));
        self.confirmed = Some(now);
    }

    fn step(&mut self, seen: &Seen, now: u64) {
        let bound = self.is_bound(seen);
        if !bound {
            self.fall.clear();
            if let Some(limit) = self.checking.take() {
                // The load has gone; the check has nothing to press against.
                self.limit = limit;
            }
        } else if self.covariance_stop(seen, now) {
            return;
        } else if self.checking.is_some() || self.needs_check(seen, now) {
            self.check_further(seen, now);
            return;
        }

        let gradient = self.gradient(seen);
        if bound && gradient < 1.0 && self.current() == self.config.min {
            // So few do not queue.
            self.accept(seen, now);
            return;
        }
        let used = seen.peak >= USED * self.limit;
        let initial = f64::from(self.config.initial);
        if seen.dropped > 0.0 {
            // Not by chance, and whatever the times of the others say.
            let kept = (1.0 - seen.dropped) * gradient.min(1.0);
            self.limit *= kept.max(GRADIENT_MIN);
        } else if used {
            self.limit *= self.factor(gradient, bound, seen);
        } else if self.limit < initial && gradient > 1.0 {
            self.limit = (self.limit * gradient).min(initial);
        }
    }

    /// The tolerated time by the mean time.
    fn gradient(&self, seen: &Seen) -> f64 {
        let baseline = self.baseline.unwrap_or(seen.rtt);
        let gradient = self.tolerance() * baseline / seen.rtt.max(1.0);
        gradient.clamp(GRADIENT_MIN, GRADIENT_MAX)
    }

    /// How many times the baseline the mean time may be. What lies above one covers chance, in the
    /// arrivals and in what is measured, and times that vary less need less of it.
    fn tolerance(&self) -> f64 {
        let needed = self.variation.variance.sqrt().clamp(CALM_TOLERANCE, 1.0);
        1.0 + (self.config.tolerance - 1.0) * needed
    }

    /// What to multiply the limit by: all of the way to where the mean time would be the tolerated
    /// one, or little of it if chance may have pointed there.
    ///
    /// Without a queue the mean time does not say how far it is to the first one, only that there
    /// is room: a limit that is pressed against then climbs as fast as it may, from the second such
    /// window in a row on.
    fn factor(&mut self, gradient: f64, bound: bool, seen: &Seen) -> f64 {
        let chance = SIGNIFICANT * self.variation.error(1.0 / seen.samples);
        let significant = (gradient - 1.0).abs() > chance;
        let room = significant && bound && gradient * (1.0 + chance) >= self.tolerance();
        let climbs = std::mem::replace(&mut self.has_room, room && gradient > 1.0);
        if !significant {
            1.0 + CALM_GAIN * (gradient - 1.0)
        } else if self.has_room && climbs {
            GRADIENT_MAX
        } else {
            gradient
        }
    }

    fn is_bound(&self, seen: &Seen) -> bool {
        seen.in_flight >= BOUND * self.limit
    }

    /// Whether the limit has been pressed against for so long, or from the start, that the baseline
    /// may be one of an overload.
    fn needs_check(&self, seen: &Seen, now: u64) -> bool {
        let often = self.config.recheck.as_nanos() as f64;
        let after = often.max(CHECK_WINDOWS * seen.samples / seen.throughput);
        self.confirmed
            .is_none_or(|confirmed| (now - confirmed) as f64 > after)
    }

    fn check_further(&mut self, seen: &Seen, now: u64) {
        let return_to = *self.checking.get_or_insert(self.limit);
        if self.current() > self.config.min {
            self.limit *= CHECK_STEP;
        } else {
            // One at a time cannot queue: this is the baseline, however high it is.
            self.confirm(seen.rtt, now);
            self.limit = return_to;
        }
    }

    /// Ends a fall that took work away from idle servers; returns whether it did.
    ///
    /// Each point on the way down is compared with: the first ones may have had so much of a queue
    /// that the loss below looks small beside the fall, and the last ones may have been short of
    /// work themselves.
    fn covariance_stop(&mut self, seen: &Seen, now: u64) -> bool {
        let here = Point {
            samples: seen.samples,
            in_flight: seen.in_flight,
            throughput: seen.throughput,
        };
        let variation = self.variation;
        let followed = |point: &Point| point.follows(&here, variation) == Some(true);
        if self.fall.iter().any(followed) {
            self.accept(seen, now);
            return true;
        }
        // What was judged is not judged again, or chance would get its way some time.
        self.fall.retain(|point| {
            here.in_flight < point.in_flight && point.follows(&here, variation).is_none()
        });
        if self.fall.len() == FALL_MAX {
            self.fall.remove(0);
        }
        self.fall.push(here);
        false
    }

    /// Takes the mean time seen here, where there is no queue, for that of the service, and goes to
    /// where the servers were at their best: by Little's law, at the time that is tolerated.
    fn accept(&mut self, seen: &Seen, now: u64) {
        let fall = self.fall.iter().map(|point| point.throughput);
        let best = fall.fold(seen.throughput, f64::max);
        self.confirm(seen.rtt, now);
        self.limit = self.tolerance() * seen.rtt * best;
    }

    fn confirm(&mut self, baseline: f64, now: u64) {
        self.baseline = Some(baseline);
        self.learned = 1;
        self.confirmed = Some(now);
        self.fall.clear();
        self.checking = None;
    }
}
