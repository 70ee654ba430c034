//! How many jobs a node should hold, and from where it should look for them.
//!
//! # How many
//! A node holds what its permits can run, and a little more: while an answer of the store is on its
//! way, handlers must not run dry. How much more depends on how fast they are. A thousand jobs
//! ahead are ten milliseconds of work for handlers that take microseconds, and an hour in which no
//! other node can have them for handlers that take minutes. So the node measures how many jobs end
//! in a second and how long an exchange with the store takes, and holds what ends within
//! [`HORIZON`], or within two exchanges where those are slower, beyond what runs. With less than one
//! exchange ahead, handlers would run dry in each, and the rate that follows from that would keep
//! it so. A node that has not measured yet holds what it can run.
//!
//! # From where
//! What was claimed leaves dead entries at the low end of an index, and each claim has to step over
//! those that the database has not cleaned up: fifty thousand a second, or all of them while
//! somebody's snapshot is held. So a claim begins where the last one ended, the *floor*. What comes
//! in below it (a higher priority, a commit that was slow) is found by a look from the very start,
//! every [`LOOK_EVERY`], or less often when looks are so slow that they would be more than a
//! twentieth of the time; and by every claim that found less than it wanted.

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

/// How often a claim looks from the very start while there is more than it takes: 250 ms.
pub const LOOK_EVERY: Duration = Duration::from_millis(250);

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

/// From where claims of one queue begin.
#[derive(Debug, Clone, Copy)]
pub struct Floor {
    rank_us: i64,
    next_look: u64,
}

impl Floor {
    /// Begins at the very start.
    pub fn new() -> Self {
        Self {
            rank_us: i64::MIN,
            next_look: 0,
        }
    }

    /// Gives the rank from which the next claim begins.
    pub fn from(&self, now: u64) -> i64 {
        if now >= self.next_look {
            i64::MIN
        } else {
            self.rank_us
        }
    }

    /// Notes a claim that began at `from` and gave `found` of `wanted` jobs, the last of them at
    /// `last_rank_us`, after `took_ns`.
    pub fn claimed(
        &mut self,
        now: u64,
        from: i64,
        wanted: usize,
        found: usize,
        last_rank_us: Option<i64>,
        took_ns: u64,
    ) {
        if found < wanted {
            *self = Self::new();
            return;
        }
        self.rank_us = last_rank_us.unwrap_or(i64::MIN);
        if from == i64::MIN {
            let every = (LOOK_EVERY.as_nanos() as u64).max(took_ns.saturating_mul(20));
            self.next_look = now.saturating_add(every);
        }
    }
}

impl Default for Floor {
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

    #[test]
    fn claims_go_on_from_the_last_one_while_there_is_more() {
        let mut floor = Floor::new();

        floor.claimed(0, floor.from(0), 10, 10, Some(77), MILLI);

        assert_eq!(floor.from(MILLI), 77);
    }

    #[test]
    fn a_claim_that_finds_less_than_it_wants_begins_at_the_start_again() {
        let mut floor = Floor::new();
        floor.claimed(0, floor.from(0), 10, 10, Some(77), MILLI);

        floor.claimed(MILLI, 77, 10, 9, Some(99), MILLI);

        assert_eq!(floor.from(2 * MILLI), i64::MIN);
    }

    #[test]
    fn what_comes_in_below_the_floor_is_looked_for_in_time() {
        let mut floor = Floor::new();
        floor.claimed(0, i64::MIN, 10, 10, Some(77), MILLI);
        floor.claimed(100 * MILLI, 77, 10, 10, Some(88), MILLI);

        assert_eq!(floor.from(249 * MILLI), 88);
        assert_eq!(floor.from(250 * MILLI), i64::MIN);
    }

    #[test]
    fn slow_looks_are_rare() {
        let mut floor = Floor::new();

        floor.claimed(0, i64::MIN, 10, 10, Some(77), 100 * MILLI);

        assert_eq!(floor.from(1_999 * MILLI), 77);
        assert_eq!(floor.from(2_000 * MILLI), i64::MIN);
    }
}
