//! What a window shows, and how much of it may be chance.

use super::tally::Totals;

/// What a window showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) samples: f64,
    /// The mean time of a request, in nanoseconds.
    pub(super) rtt: f64,
    /// Completions per nanosecond.
    pub(super) throughput: f64,
    pub(super) in_flight: f64,
    /// The part of all samples that was dropped below.
    pub(super) dropped: f64,
    pub(super) peak: f64,
    /// How long it takes until those who are in flight have come out, in nanoseconds, but at most
    /// the length of the window.
    pub(super) turnover_ns: f64,
}

/// Throughput at some number in flight, and how many samples say so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) samples: f64,
    pub(super) in_flight: f64,
    pub(super) throughput: f64,
}

/// How much times vary around their mean, as a part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variation {
    pub(super) variance: f64,
    /// The mean time of the last window, of how many samples it was, and under which limit.
    last: Option<(f64, f64, u32)>,
}

/// Throughput follows in-flight if it falls by at least so much of the fall. Behind a queue it would
/// not fall at all, and without one by all of it; this is the middle.
const FOLLOWS: f64 = 0.5;

/// A difference of so many standard errors is not chance: in one judgment of a hundred and sixty, since
/// what follows from it is kept.
const CERTAIN: f64 = 2.5;

/// How fast the measure of variation follows: over the last ten windows.
const VARIATION_WEIGHT: f64 = 0.1;

/// No single window may show more: what is beyond is a change and not chance.
const VARIANCE_MAX: f64 = 4.0;

// === impl Seen ===

impl Seen {
    pub(super) fn new(totals: Totals, length_ns: u64) -> Self {
        let samples = f64::from(totals.samples);
        let all = samples + f64::from(totals.dropped);
        let length = length_ns as f64;
        let peak = f64::from(totals.peak);
        Self {
            samples,
            rtt: totals.rtt_ns as f64 / samples.max(1.0),
            throughput: samples / length,
            // Little's law. Requests that were held up before the window all end in it after a
            // stall; there never were more of them than the peak.
            in_flight: (totals.rtt_ns as f64 / length).min(peak),
            dropped: f64::from(totals.dropped) / all,
            peak,
            turnover_ns: length * (peak / all).min(1.0),
        }
    }
}

// === impl Point ===

impl Point {
    /// Whether throughput fell with in-flight on the way from here to `to`; `None` as long as the
    /// fall is too small to tell that from chance.
    ///
    /// A throughput that fell by more than in-flight did not follow it: the servers have changed.
    pub(super) fn follows(&self, to: &Point, variation: Variation) -> Option<bool> {
        let fall = 1.0 - to.in_flight / self.in_flight;
        let lost = 1.0 - to.throughput / self.throughput;
        let error = CERTAIN * variation.error(1.0 / self.samples + 1.0 / to.samples);
        if lost > (2.0 - FOLLOWS) * fall + error {
            return Some(false);
        }
        (FOLLOWS * fall >= error).then_some(lost >= FOLLOWS * fall)
    }
}

// === impl Variation ===

impl Variation {
    /// Compares the mean of a window with the one before under the same limit: two means of so many
    /// samples, of times that vary so much, differ so much by chance.
    pub(super) fn note(&mut self, seen: &Seen, limit: u32) {
        let this = (seen.rtt, seen.samples, limit);
        let Some((rtt, samples, before)) = self.last.replace(this) else {
            return;
        };
        if before == limit {
            let difference = (seen.rtt - rtt) / (0.5 * (seen.rtt + rtt)).max(1.0);
            let variance = difference * difference / (1.0 / samples + 1.0 / seen.samples);
            self.variance += VARIATION_WEIGHT * (variance.min(VARIANCE_MAX) - self.variance);
        }
    }

    /// The standard error, as a part of it, of a mean or a rate over one by `inverse_samples`.
    pub(super) fn error(self, inverse_samples: f64) -> f64 {
        (self.variance * inverse_samples).sqrt()
    }
}

impl Default for Variation {
    /// As exponential times vary.
    fn default() -> Self {
        Self {
            variance: 1.0,
            last: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throughput_that_falls_with_what_is_in_flight_follows_it() {
        let point = |in_flight, throughput| Point {
            samples: 1_000.0,
            in_flight,
            throughput,
        };
        let cases = [
            (
                "a queue got shorter",
                (100.0, 10.0),
                (50.0, 10.0),
                Some(false),
            ),
            ("servers got idle", (10.0, 10.0), (5.0, 5.0), Some(true)),
            ("some of both", (20.0, 10.0), (5.0, 5.0), Some(true)),
            ("too little to tell", (10.0, 10.0), (9.0, 9.0), None),
            ("servers are gone", (12.0, 10.0), (11.0, 3.0), Some(false)),
        ];

        for (what, (in_flight, throughput), to, expected) in cases {
            let follows =
                point(in_flight, throughput).follows(&point(to.0, to.1), Variation::default());
            assert_eq!(follows, expected, "{what}");
        }
    }

    #[test]
    fn only_windows_of_one_limit_tell_chance_from_change() {
        let seen = |rtt_ns| {
            Seen::new(
                Totals {
                    samples: 100,
                    rtt_ns: 100 * rtt_ns,
                    dropped: 0,
                    peak: 9,
                },
                1,
            )
        };
        let mut variation = Variation::default();

        for limit in 0..50 {
            variation.note(&seen(1 + u64::from(limit) * 1_000), limit);
        }
        assert_eq!(variation.variance, 1.0, "each limit was another one");
        for _ in 0..50 {
            variation.note(&seen(7), 3);
        }
        assert!(variation.variance < 0.01, "nothing varies: {variation:?}");
    }
}
