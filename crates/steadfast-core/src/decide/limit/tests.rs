//! What the limit promises, against servers that are pure arithmetic.

use std::time::Duration;

use proptest::prelude::*;

use super::{Limit, LimitConfig, Totals};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// A server of so many workers, each of which takes exactly so long; who finds none waits.
#[derive(Clone, Copy, Debug)]
struct Server {
    workers: u32,
    service_ns: u64,
}

/// A limit before a server, in virtual time.
struct Rig {
    limit: Limit,
    now: u64,
}

impl Server {
    /// How long a request takes with so many in flight: by Little's law, their number by what the
    /// workers do.
    fn rtt_ns(self, in_flight: u32) -> u64 {
        let queued = self.service_ns * u64::from(in_flight) / u64::from(self.workers);
        queued.max(self.service_ns)
    }
}

impl Rig {
    fn new(config: LimitConfig) -> Self {
        Self {
            limit: Limit::new(config).unwrap(),
            now: SECOND,
        }
    }

    /// Keeps `wanted` in flight, or as many as the limit allows, for so many windows.
    fn run(&mut self, server: Server, wanted: u32, windows: u64) {
        // As long as a hundred requests take, where that is more than a quarter of a second.
        let hundred_ns = 100 * server.service_ns / u64::from(server.workers.min(wanted));
        let until = self.now + windows * hundred_ns.max(250 * MS);
        while self.now < until {
            let in_flight = wanted.min(self.limit.current());
            let rtt = server.rtt_ns(in_flight);
            // What ends in a hundredth of a second, as a shell hands it over.
            let samples = (10 * MS * u64::from(in_flight) / rtt).max(1);
            self.now += (samples * rtt / u64::from(in_flight)).max(1);
            let totals = Totals {
                samples: samples as u32,
                rtt_ns: samples * rtt,
                dropped: 0,
                peak: in_flight,
            };
            self.limit.absorb(totals, self.now);
        }
    }

    /// Hands over a window of these requests and more time than it needs.
    fn absorb(&mut self, totals: Totals) -> u32 {
        self.now += 10 * SECOND;
        self.limit.absorb(Totals::default(), self.now);
        self.now += 10 * SECOND;
        self.limit.absorb(totals, self.now)
    }
}

const TEN: Server = Server {
    workers: 10,
    service_ns: 10 * MS,
};

#[test]
fn an_overload_is_met_within_two_seconds_and_left_again() {
    let mut rig = Rig::new(LimitConfig::bare());
    rig.run(TEN, 7, 40);
    assert_eq!(rig.limit.current(), 100, "nothing presses");

    rig.run(TEN, u32::MAX, 8);
    assert!((10..=20).contains(&rig.limit.current()), "{rig}");

    rig.run(TEN, 7, 80);
    assert_eq!(rig.limit.current(), 100, "it returns to its resting value");
}

#[test]
fn a_long_overload_never_looks_normal() {
    let config = LimitConfig {
        recheck: Duration::from_secs(3_600),
        ..LimitConfig::bare()
    };
    let mut rig = Rig::new(config);
    rig.run(TEN, 5, 40);
    let baseline = rig.limit.baseline_ns();

    rig.run(TEN, u32::MAX, 1_200);

    assert_eq!(rig.limit.baseline_ns(), baseline, "frozen under pressure");
    assert!(rig.limit.current() <= 20, "{rig}");
}

#[test]
fn a_limit_that_starts_in_an_overload_finds_the_baseline_by_its_check() {
    let mut rig = Rig::new(LimitConfig::bare());

    rig.run(TEN, u32::MAX, 60);

    let baseline = rig.limit.baseline_ns().unwrap();
    assert!(
        (9 * MS..=12 * MS).contains(&baseline),
        "{baseline} is that of a queue"
    );
    assert!((10..=20).contains(&rig.limit.current()), "{rig}");
}

#[test]
fn a_check_that_loses_its_load_gives_the_limit_back() {
    let mut rig = Rig::new(LimitConfig::bare());
    rig.run(TEN, u32::MAX, 5);
    assert!(rig.limit.current() < 50, "the check has begun: {rig}");

    rig.run(TEN, 5, 2);

    assert!(rig.limit.current() >= 100, "at once: {rig}");
}

#[test]
fn at_the_lowest_limit_there_is_nothing_left_to_compare_with() {
    let one = Server {
        workers: 1,
        service_ns: 10 * MS,
    };
    let config = LimitConfig {
        recheck: Duration::from_secs(3_600),
        ..LimitConfig::bare()
    };
    let mut rig = Rig::new(config);
    rig.run(one, 1, 10);

    rig.run(one, u32::MAX, 20);

    let baseline = rig.limit.baseline_ns();
    assert_eq!(baseline, Some(20 * MS), "that of two at a time");
    assert!((2..=4).contains(&rig.limit.current()), "{rig}");
}

/// What the servers did on the way down says how many they are, also when the fall went by in steps
/// too large, or through samples too few, to see where they ran out of work.
#[test]
fn a_fall_to_the_bottom_is_undone_at_once() {
    let mut rig = Rig::new(LimitConfig::queued());
    rig.run(TEN, 5, 20);
    let slow = Server {
        service_ns: 40 * MS,
        ..TEN
    };

    rig.run(slow, u32::MAX, 40);

    assert!((10..=12).contains(&rig.limit.current()), "{rig}");
    assert_eq!(rig.limit.baseline_ns(), Some(40 * MS));
}

#[test]
fn with_room_and_pressure_the_limit_climbs_by_half_a_window() {
    let config = LimitConfig {
        initial: 4,
        ..LimitConfig::queued()
    };
    let wide = Server {
        workers: 500,
        service_ns: 10 * MS,
    };
    let mut rig = Rig::new(config);
    rig.run(wide, 1, 40);

    // Two windows to be sure, and each one settles for 10 ms.
    rig.run(wide, u32::MAX, 9);

    let limit = rig.limit.current();
    assert!((4 * 8..=4 * 40).contains(&limit), "{rig}");
}

#[test]
fn what_comes_out_of_the_old_limit_does_not_lower_the_new_one() {
    let mut rig = Rig::new(LimitConfig::bare());
    rig.run(TEN, 5, 20);
    let late = Totals {
        samples: 0,
        rtt_ns: 0,
        dropped: 100,
        peak: 90,
    };

    // A hundred in 300 ms, so that the 90 that are still in flight take 270 ms.
    rig.absorb(Totals {
        samples: 100,
        rtt_ns: 100 * 10 * MS,
        dropped: 0,
        peak: 1,
    });
    let before = rig.limit.current();
    rig.now += 300 * MS;
    assert_eq!(rig.limit.absorb(late, rig.now), before / 2);
    for later in [5, 255] {
        rig.now += later * MS;
        let limit = rig.limit.absorb(late, rig.now);
        assert_eq!(limit, before / 2, "these are the old ones");
    }
}

#[test]
fn the_highest_limit_is_left_as_soon_as_it_is_too_high() {
    let config = LimitConfig {
        initial: 40,
        max: 40,
        ..LimitConfig::bare()
    };
    let wide = Server {
        workers: 80,
        service_ns: 10 * MS,
    };
    let mut rig = Rig::new(config);
    rig.run(wide, 5, 4);
    rig.run(wide, u32::MAX, 40);
    assert_eq!(rig.limit.current(), 40);

    let half = Totals {
        samples: 100,
        rtt_ns: 100 * 10 * MS,
        dropped: 100,
        peak: 40,
    };

    assert_eq!(rig.absorb(half), 20);
}

#[test]
fn growth_needs_pressure_and_a_free_server() {
    let mut rig = Rig::new(LimitConfig {
        initial: 10,
        ..LimitConfig::bare()
    });
    let wide = Server {
        workers: 80,
        service_ns: 10 * MS,
    };

    rig.run(wide, 4, 40);
    assert_eq!(rig.limit.current(), 10, "what is not used does not grow");
    rig.run(wide, u32::MAX, 40);
    assert!((80..=160).contains(&rig.limit.current()), "{rig}");
}

#[test]
fn what_is_dropped_below_shrinks_the_limit_whatever_the_times_say() {
    let cases = [(0, 150), (10, 90), (50, 50), (90, 50), (100, 50)];

    for (dropped, expected) in cases {
        let mut rig = Rig::new(LimitConfig::bare());
        rig.run(TEN, 5, 4);
        let totals = Totals {
            samples: 100 - dropped,
            rtt_ns: u64::from(100 - dropped) * 10 * MS,
            dropped,
            peak: 60,
        };

        let limit = rig.absorb(totals);

        assert_eq!(limit, expected, "{dropped} of 100");
    }
}

#[test]
fn time_that_steps_back_counts_as_standing_still() {
    let mut rig = Rig::new(LimitConfig::bare());
    rig.run(TEN, 5, 4);
    let before = format!("{rig}");

    for _ in 0..1_000 {
        rig.limit.sample(900 * MS, 100, false, 0);
    }

    assert_eq!(format!("{rig}"), before, "no window ends");
}

#[test]
fn a_window_waits_for_its_samples_and_a_flood_ends_it() {
    let slow = Totals {
        samples: 1,
        rtt_ns: 30 * MS,
        dropped: 0,
        peak: 100,
    };
    let mut limit = Limit::new(LimitConfig::bare()).unwrap();
    let quiet = Totals {
        samples: 100,
        rtt_ns: 1_000 * MS,
        dropped: 0,
        peak: 5,
    };
    limit.absorb(Totals::default(), SECOND);
    assert_eq!(limit.absorb(quiet, 2 * SECOND), 100);

    for second in 3..102 {
        let limit = limit.absorb(slow, second * SECOND);
        assert_eq!(limit, 100, "too few to judge by");
    }
    assert!(limit.absorb(slow, 102 * SECOND) < 100);

    let before = limit.current();
    limit.absorb(quiet, 110 * SECOND);
    let flood = Totals {
        samples: LimitConfig::MAX_SAMPLES,
        rtt_ns: u64::from(LimitConfig::MAX_SAMPLES) * 30 * MS,
        ..slow
    };
    assert!(
        limit.absorb(flood, 110 * SECOND + MS) < before,
        "long before"
    );
}

impl std::fmt::Display for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (limit, baseline) = (self.limit.current(), self.limit.baseline_ns());
        write!(f, "limit {limit}, baseline {baseline:?} ns")
    }
}

fn server() -> impl Strategy<Value = Server> {
    (4u32..200, 1u64..100).prop_map(|(workers, ms)| Server {
        workers,
        service_ns: ms * MS,
    })
}

proptest! {
    #[test]
    fn whatever_is_sampled_the_limit_keeps_its_bounds(
        min in 1u32..20,
        span in 0u32..200,
        samples in prop::collection::vec(
            (0u64..u64::MAX, 0u32..100_000, 0u32..100_000, 0u32..u32::MAX, 0u64..10 * SECOND),
            0..60,
        ),
    ) {
        let max = min + span;
        let config = LimitConfig { min, initial: min + span / 2, max, ..LimitConfig::bare() };
        let mut limit = Limit::new(config).unwrap();
        let mut now = 0u64;

        for (rtt_ns, samples, dropped, peak, later) in samples {
            // Every third time an older instant.
            now = if later % 3 == 0 { now.saturating_sub(later) } else { now + later };
            limit.absorb(Totals { samples, rtt_ns, dropped, peak }, now);

            prop_assert!((min..=max).contains(&limit.current()), "{}", limit.current());
        }
    }

    #[test]
    fn any_server_is_kept_busy_and_its_queue_within_the_tolerance(
        server in server(),
        quiet_first in any::<bool>(),
    ) {
        let mut rig = Rig::new(LimitConfig::bare());
        if quiet_first {
            rig.run(server, server.workers.div_ceil(2).min(60), 20);
        }

        rig.run(server, u32::MAX, 60);

        let limit = f64::from(rig.limit.current());
        let workers = f64::from(server.workers);
        prop_assert!(limit >= 0.95 * workers, "{rig}, {server:?}");
        prop_assert!(limit <= 2.0 * workers + 1.0, "{rig}, {server:?}");
    }

    #[test]
    fn a_service_that_is_slow_for_good_is_accepted_as_it_is(
        server in server(),
        slower in 2u64..10,
    ) {
        let mut rig = Rig::new(LimitConfig::queued());
        rig.run(server, u32::MAX, 60);

        let slow = Server { service_ns: server.service_ns * slower, ..server };
        rig.run(slow, u32::MAX, 150);

        let limit = f64::from(rig.limit.current());
        prop_assert!(limit >= 0.9 * f64::from(server.workers), "{rig}, {slow:?}");
    }

    #[test]
    fn what_was_not_used_changes_nothing(server in server(), share in 0.01f64..0.49) {
        let mut rig = Rig::new(LimitConfig::bare());
        let wanted = ((f64::from(rig.limit.current()) * share) as u32).clamp(1, server.workers);

        for _ in 0..60 {
            rig.run(server, wanted, 1);
            prop_assert_eq!(rig.limit.current(), 100);
        }
    }

    #[test]
    fn one_step_neither_halves_more_than_once_nor_grows_by_more_than_half(
        rtts in prop::collection::vec(1u64..2_000, 2..40),
    ) {
        // Without checks: the end of one goes back to where it began.
        let config = LimitConfig { recheck: Duration::from_secs(3_600), ..LimitConfig::bare() };
        let mut rig = Rig::new(config);
        rig.run(TEN, 5, 4);
        let mut before = f64::from(rig.limit.current());

        for rtt in rtts {
            let totals = Totals { samples: 200, rtt_ns: 200 * rtt * MS, dropped: 0, peak: 5_000 };
            let after = f64::from(rig.absorb(totals));

            prop_assert!(after >= 0.5 * before - 1.0, "{before} to {after}");
            // A covariance stop goes to what the servers were seen to do.
            let jump = rig.limit.baseline_ns() == Some(rtt * MS);
            prop_assert!(jump || after <= 1.5 * before + 1.0, "{before} to {after}");
            before = after;
        }
    }
}
