//! How many jobs a node should hold.
//!
//! A node holds what its permits can run, and a little more: while an answer of the store is on its
//! way, handlers must not run dry. How much more depends on how fast they are. A thousand jobs
//! ahead are ten milliseconds of work for handlers that take microseconds, and an hour in which no
//! other node can have them for handlers that take minutes. So the node measures how many jobs end
//! in a second and how long an exchange with the store takes, and holds what ends within
//! [`HORIZON`], or within two exchanges where those are slower, beyond what runs. With less than one
//! exchange ahead, handlers would run dry in each, and the rate that follows from that would keep
//! it so. A node that has not measured yet holds what it can run.

use std::time::Duration;

/// How far ahead a node holds jobs: 25 ms of work, several times an exchange with a store that
/// flushes to a disk.
pub const HORIZON: Duration = Duration::from_millis(25);

/// The longest that a node looks ahead, however slow the store is: 1 s, in which jobs are not yet late
/// for other nodes.
pub const HORIZON_MAX: Duration = Duration::from_secs(1);

/// The most jobs that a node holds beyond its permits: 2,000, which bounds the memory, the size of
/// a claim, and what a crash has to rescue.
pub const AHEAD_MAX: usize = 2_000;

/// Measures how fast jobs end.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    per_second: f64,
    exchange_ns: f64,
    last: Option<u64>,
    since_last: u64,
}

impl Pace {
    /// Has measured nothing.
    pub fn new() -> Self {
        Self {
            per_second: 0.0,
            exchange_ns: 0.0,
            last: None,
            since_last: 0,
        }
    }

    /// Notes that jobs ended; `busy` tells whether handlers had work all the time since the last
    /// note, for otherwise their speed cannot be seen.
    pub fn ended(&mut self, now: u64, jobs: usize, busy: bool) {
        self.since_last += jobs as u64;
        let Some(last) = self.last else {
            (self.last, self.since_last) = (Some(now), 0);
            return;
        };
        let elapsed = now.saturating_sub(last);
        // Shorter stretches are noise.
        if elapsed < 1_000_000 {
            return;
        }
        let seen = self.since_last as f64 * 1e9 / elapsed as f64;
        // An idle stretch shows a lower bound only; a slow one must bring the rate down fast, or
        // jobs are held that others could run.
        if busy || seen > self.per_second {
            self.per_second += (seen - self.per_second) * 0.5;
        }
        (self.last, self.since_last) = (Some(now), 0);
    }

    /// Notes how long an exchange with the store took.
    pub fn exchanged(&mut self, took_ns: u64) {
        self.exchange_ns += (took_ns as f64 - self.exchange_ns) * 0.2;
    }

    /// Tells how many jobs to hold beyond `permits`.
    pub fn ahead(&self) -> usize {
        let two_exchanges = 2.0 * self.exchange_ns / 1e9;
        let horizon = two_exchanges.clamp(HORIZON.as_secs_f64(), HORIZON_MAX.as_secs_f64());
        let ahead = self.per_second * horizon;
        (ahead as usize).min(AHEAD_MAX)
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    #[test]
    fn a_node_that_has_measured_nothing_holds_what_it_can_run() {
        assert_eq!(Pace::new().ahead(), 0);
    }

    #[test]
    fn fast_handlers_are_kept_busy_over_the_horizon() {
        let mut pace = Pace::new();
        for turn in 0..20 {
            pace.ended(turn * 2 * MILLI, 100, true);
        }

        let ahead = pace.ahead();

        assert!((1_200..=1_250).contains(&ahead), "50,000 a second: {ahead}");
    }

    #[test]
    fn handlers_do_not_run_dry_while_a_slow_store_answers() {
        const EXCHANGE: u64 = 100 * MILLI;
        let (mut pace, permits) = (Pace::new(), 10);
        let mut held = permits;
        for turn in 0..20 {
            // All that is held ends long before the answer to the exchange comes.
            pace.exchanged(EXCHANGE);
            pace.ended(turn * EXCHANGE, held, true);
            held = permits + pace.ahead();
        }

        assert_eq!(
            pace.ahead(),
            AHEAD_MAX,
            "it grows until something else is short"
        );
    }

    #[test]
    fn nobody_looks_further_ahead_than_the_longest_horizon() {
        let mut pace = Pace::new();
        for turn in 0..20 {
            pace.exchanged(3_600_000 * MILLI);
            pace.ended(turn * 1_000 * MILLI, 100, true);
        }

        assert!((90..=100).contains(&pace.ahead()), "{}", pace.ahead());
    }

    #[test]
    fn slow_handlers_keep_no_job_from_other_nodes() {
        let mut pace = Pace::new();
        for turn in 0..20 {
            pace.ended(turn * 1_000 * MILLI, 10, true);
        }

        assert_eq!(pace.ahead(), 0);
    }

    #[test]
    fn handlers_that_turn_slow_are_seen_within_a_few_notes() {
        let mut pace = Pace::new();
        for turn in 0..20 {
            pace.ended(turn * 2 * MILLI, 200, true);
        }
        for turn in 0..12 {
            pace.ended(40 * MILLI + turn * 1_000 * MILLI, 10, true);
        }

        assert!(pace.ahead() < 2, "{}", pace.ahead());
    }

    #[test]
    fn an_idle_stretch_does_not_look_slow() {
        let mut pace = Pace::new();
        for turn in 0..20 {
            pace.ended(turn * 2 * MILLI, 100, true);
        }
        let before = pace.ahead();

        pace.ended(60_000 * MILLI, 1, false);

        assert_eq!(pace.ahead(), before);
    }

    #[test]
    fn what_is_held_ahead_is_bounded() {
        let mut pace = Pace::new();
        for turn in 0..20 {
            pace.ended(turn * MILLI, 1_000_000, true);
        }

        assert_eq!(pace.ahead(), AHEAD_MAX);
    }
}
