//! S12: the policy changes while there is too much to do.
//!
//! # The model
//!
//! Twice the capacity, a part of it core, and every five seconds another number of permits. Beside
//! it a breaker in front of a target that is down and a bucket of a rate limit get new numbers every
//! five seconds, too.

use std::collections::HashSet;
use std::time::Duration;

use steadfast::context::Tier;
use steadfast::decide::admission::AdmissionConfig;
use steadfast::decide::breaker::{Breaker, BreakerConfig, CallEnd};
use steadfast::decide::rate::{Quota, RateLimiter};

use crate::engine::{Decision, Front, Request, World};
use crate::fronts::{Fixed, Guarded, Limiter};
use crate::load::{CAPACITY, SECOND, Service, Steps, Stream, in_force};
use crate::metrics::Metrics;
use crate::s2_tiers::{CORE_RATE, core_percent};
use crate::scenario::{Figure, Row, Scenario, Target, runs};

const STORY: &str = "\
300 requests a second of core and 1,700 of others, where 1,000 can be served. Every five seconds the number of
permits changes: 20, 40, 12, 30. In the same rhythm a breaker before a target that is down gets other numbers, and so
does a rate limit of 100 a second with a burst of 50 whose client wants 1,000. Ours changes what is there; beside it
each change makes everything anew, as it does where layers are built from a configuration.";

const FIGURES: [Figure; 6] = [
    Figure {
        name: CORE,
        decimals: 2,
        target: Target::AtLeast(99.5),
    },
    Figure {
        name: "core in its worst second, %",
        decimals: 1,
        target: Target::AtLeast(99.5),
    },
    Figure {
        name: "all in time, % of capacity",
        decimals: 1,
        target: Target::AtLeast(98.0),
    },
    Figure {
        name: IN_FLIGHT,
        decimals: 0,
        target: Target::AtMost(40.0),
    },
    Figure {
        name: THROUGH,
        decimals: 0,
        target: Target::AtMost(0.0),
    },
    Figure {
        name: OVER,
        decimals: 0,
        target: Target::AtMost(0.0),
    },
];

/// What part of core is answered in time.
pub const CORE: &str = "core in time, %";

/// How many are in flight at most, where 40 is the highest number of permits.
pub const IN_FLIGHT: &str = "most in flight";

/// How many calls pass a breaker that was open because its numbers have changed.
pub const THROUGH: &str = "passed an open breaker";

/// How many requests pass a rate limit because its numbers have changed.
pub const OVER: &str = "over the rate";

const EVERY: u64 = 5;
const END: u64 = 20;

const PERMITS: [u32; 4] = [20, 40, 12, 30];

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let rows = [("ours", true), ("everything anew with each change", false)];
    let rows = rows.map(|(name, kept)| {
        let runs = runs(kept, |service, seed| {
            let mut front = Changing::new(kept);
            let run = world(service).run(seed, &mut front);
            let mut figures = figures(&run);
            figures.push(f64::from(front.most));
            figures.push(through_breaker(kept, seed));
            figures.push(over_rate(kept));
            figures
        });
        Row::worst(name, kept, &FIGURES, &runs)
    });
    Scenario {
        id: "S12",
        title: "the policy changes under load",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows: rows.to_vec(),
        charts: Vec::new(),
        notes: String::new(),
    }
}

fn world(service: Service) -> World {
    let others = 2.0 * CAPACITY - CORE_RATE;
    let streams = vec![
        Stream::new(Tier::CORE, vec![(0, CORE_RATE)]),
        Stream::new(Tier::DEFAULT, vec![(0, others)]),
    ];
    World::new(streams, service, END * SECOND)
}

fn figures(run: &Metrics) -> Vec<f64> {
    let (core, worst) = core_percent(run, 0..END - 1);
    vec![core, worst, run.percent_of_capacity(1..END - 1)]
}

/// How many calls pass a breaker that has tripped, beyond its probes, when its numbers change.
fn through_breaker(kept: bool, seed: u64) -> f64 {
    let config = |min_calls| {
        let minute = Duration::from_secs(60);
        BreakerConfig::new()
            .with_failure_share(0.25)
            .and_then(|config| config.with_min_calls(min_calls))
            .and_then(|config| config.with_open_time(minute, minute))
            .expect("within the bounds")
    };
    let mut breaker = Breaker::new(config(20), seed).expect("a reason to trip");
    let mut passed = 0;
    for tenth in 0..10 * END {
        let now = tenth * SECOND / 10;
        if tenth.is_multiple_of(10 * EVERY) && tenth > 0 {
            let min_calls = if tenth.is_multiple_of(20 * EVERY) {
                20
            } else {
                10
            };
            breaker = if kept {
                breaker.with_config(config(min_calls))
            } else {
                Breaker::new(config(min_calls), seed)
            }
            .expect("a reason to trip");
        }
        for _ in 0..10 {
            if let Ok(permit) = breaker.ask(now).verdict {
                // Before it has tripped for the first time, and a round of probes at the end.
                passed += u32::from(tenth >= 10 * EVERY && !permit.is_probe());
                let _ = breaker.record(permit, CallEnd::failed(Duration::ZERO), now);
            }
        }
    }
    f64::from(passed)
}

/// How many more requests pass than the rate and one burst allow.
fn over_rate(kept: bool) -> f64 {
    let second = Duration::from_secs(1);
    let quota = |burst| Quota::new(100, second, burst).expect("within the bounds");
    let mut limit = RateLimiter::new(quota(50));
    let mut passed = 0u64;
    for ms in 0..1_000 * END {
        let now = ms * SECOND / 1_000;
        if ms.is_multiple_of(1_000 * EVERY) && ms > 0 {
            let burst = if ms.is_multiple_of(2_000 * EVERY) {
                50
            } else {
                49
            };
            limit = if kept {
                limit.with_quota(quota(burst), now)
            } else {
                RateLimiter::new(quota(burst))
            };
        }
        passed += u64::from(limit.check(now, 1).is_allowed());
    }
    (passed as f64 - (100 * END + 50) as f64).max(0.0)
}

/// A number of permits that somebody changes.
#[derive(Clone, Debug)]
struct Scheduled {
    steps: Steps,
    limit: u32,
}

impl Limiter for Scheduled {
    fn limit(&self) -> u32 {
        self.limit
    }

    fn sample(&mut self, _: u64, _: u32, _: bool, now: u64) {
        self.limit = in_force(&self.steps, now).0 as u32;
    }
}

/// Ours, with permits that change; or one that is made anew for each change, while what it has let
/// in ends as it may.
struct Changing {
    kept: Option<Guarded<Scheduled>>,
    anew: Guarded<Fixed>,
    steps: Steps,
    limit: u32,
    /// Who waits in the one of now, and who was let in by it.
    waiting: HashSet<u32>,
    admitted: HashSet<u32>,
    in_flight: u32,
    most: u32,
}

impl Changing {
    fn new(kept: bool) -> Self {
        let changes = 0..END / EVERY;
        let permits = |change: u64| PERMITS[(change % PERMITS.len() as u64) as usize];
        let steps: Steps = changes
            .map(|change| (change * EVERY * SECOND, f64::from(permits(change))))
            .collect();
        let limiter = Scheduled {
            steps: steps.clone(),
            limit: PERMITS[0],
        };
        Self {
            kept: kept.then(|| guarded(limiter)),
            anew: guarded(Fixed(PERMITS[0])),
            steps,
            limit: PERMITS[0],
            waiting: HashSet::new(),
            admitted: HashSet::new(),
            in_flight: 0,
            most: 0,
        }
    }

    fn front(&mut self) -> &mut dyn Front {
        match &mut self.kept {
            Some(kept) => kept,
            None => &mut self.anew,
        }
    }

    /// Makes a new one if the permits have changed; who waits in the old one is rejected.
    fn change(&mut self, now: u64, decisions: &mut Vec<Decision>) {
        let limit = in_force(&self.steps, now).0 as u32;
        if limit == self.limit || self.kept.is_some() {
            return;
        }
        self.limit = limit;
        self.anew = guarded(Fixed(limit));
        self.admitted.clear();
        let mut waiting: Vec<u32> = self.waiting.drain().collect();
        waiting.sort_unstable();
        decisions.extend(waiting.into_iter().map(Decision::Reject));
    }

    fn note(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            let (Decision::Admit(id) | Decision::Reject(id)) = *decision;
            self.waiting.remove(&id);
            if matches!(decision, Decision::Admit(_)) {
                self.admitted.insert(id);
                self.in_flight += 1;
                self.most = self.most.max(self.in_flight);
            }
        }
    }
}

fn guarded<L: Limiter>(limiter: L) -> Guarded<L> {
    Guarded::new(limiter, AdmissionConfig::default()).expect("the default")
}

impl Front for Changing {
    fn arrive(&mut self, request: &Request, now: u64, decisions: &mut Vec<Decision>) {
        self.change(now, decisions);
        let before = decisions.len();
        self.waiting.insert(request.id);
        self.front().arrive(request, now, decisions);
        self.note(&decisions[before..]);
    }

    fn ended(&mut self, request: &Request, admitted: u64, now: u64, decisions: &mut Vec<Decision>) {
        self.in_flight -= 1;
        if self.admitted.remove(&request.id) {
            let before = decisions.len();
            self.front().ended(request, admitted, now, decisions);
            self.note(&decisions[before..]);
        }
    }

    fn gave_up(&mut self, request: &Request, now: u64) {
        if self.waiting.remove(&request.id) {
            self.front().gave_up(request, now);
        }
    }

    fn limit(&self) -> u32 {
        self.limit
    }
}
