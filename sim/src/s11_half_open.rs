//! S11: many processes find out that what they call is back, and do not knock it over.
//!
//! # The model
//!
//! Twenty processes make fifty calls a second each to one target, and each has its breaker. The
//! target is down for a minute. When it is back its caches are cold: it can do 200 calls a second,
//! and one more for each five that it has served, up to 1,200; what exceeds that fails. In each
//! process one caller makes half of the calls and nine make the rest, and one call in ten is left by
//! its caller before it ends.

use std::time::Duration;

use steadfast::context::Tier;
use steadfast::decide::breaker::BreakerConfig;

use crate::calls::{Guarding, InARow, OneProbe, OurBreaker, Passed};
use crate::chart::{Axis, Chart, Line};
use crate::events::Events;
use crate::load::{MS, SECOND, Service, Stream};
use crate::rng::Rng;
use crate::scenario::{Figure, Row, Scenario, Target, runs};

const STORY: &str = "\
Twenty processes make 50 calls a second each to a target that is down for a minute. When it is back it can do 200
calls a second, and one more for every five that it has served, up to 1,200; the rest fails. One caller in each process
makes half of its calls, nine share the other half, and one call in ten is left by its caller before it ends. Ours is
open for a second at first and ten at most, probes with ten calls, and comes back over five seconds: with what it takes
to find that the target is back, and one more turn where it was too cold, thirty seconds.";

const FIGURES: [Figure; 5] = [
    Figure {
        name: DEAD,
        decimals: 1,
        target: Target::AtMost(3.0),
    },
    Figure {
        name: TOGETHER,
        decimals: 0,
        target: Target::AtMost(100.0),
    },
    Figure {
        name: BACK,
        decimals: 1,
        target: Target::AtMost(30.0),
    },
    Figure {
        name: FAILED,
        decimals: 1,
        target: Target::AtMost(2.0),
    },
    Figure {
        name: FAIR,
        decimals: 0,
        target: Target::AtLeast(80.0),
    },
];

/// How many calls still go to the dead target.
pub const DEAD: &str = "sent while it is down, %";

/// How many of them at the same time.
pub const TOGETHER: &str = "most in a tenth of a second of it";

/// When everything is as before.
pub const BACK: &str = "all back after, s";

/// What the return costs.
pub const FAILED: &str = "failed once it is back, %";

/// What the caller gets who gets least.
pub const FAIR: &str = "least share of a caller, % of the mean";

const PROCESSES: usize = 20;
const CALLERS: u64 = 10;
const RATE: f64 = 50.0;
const TAKES: u64 = 10 * MS;

/// One call in this many is left by its caller.
const LEFT: u64 = 10;

// When the target is down, and when the run ends, in seconds.
const DOWN: std::ops::Range<u64> = 10..70;
const END: u64 = 150;

/// The calls that go to the dead target count from here on, when all have seen that it is down.
const SEEN: u64 = 13;

const COLD: u64 = 200;
const WARM: u64 = 1_200;
const SERVED_FOR_ONE_MORE: u64 = 5;

type Make = fn(u64) -> Box<dyn Guarding>;

const CONTENDERS: [(&str, bool, Make); 4] = [
    (OURS, true, |seed| Box::new(OurBreaker::new(config(), seed))),
    ("one probe, then all", false, |_| {
        Box::new(OneProbe::new(5 * SECOND, false))
    }),
    ("one probe, kept by who leaves", false, |_| {
        Box::new(OneProbe::new(5 * SECOND, true))
    }),
    ("none", false, |_| Box::new(InARow::new(u32::MAX))),
];

const OURS: &str = "ours";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(usize),
    Ended(usize),
}

struct Call {
    process: usize,
    began: u64,
    /// Absent once it is over.
    passed: Option<Passed>,
}

/// A target that is down, or cold, or warm.
#[derive(Clone, Copy, Debug, Default)]
struct Serving {
    served: u64,
    /// The tenth of a second that `in_it` is about.
    tenth: u64,
    in_it: u64,
}

/// What a run showed, by tenth of a second.
struct Shown {
    came: Vec<u64>,
    sent: Vec<u64>,
    good: Vec<u64>,
    failed: Vec<u64>,
    /// Calls that came and passed for each caller while not all were back.
    callers: [(u64, u64); CALLERS as usize],
    /// When the last breaker was not closed.
    not_back: u64,
}

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let (rows, lines) = CONTENDERS
        .map(|(name, judged, make)| {
            let mut drawn = None;
            let runs = runs(judged, |service, seed| {
                let run = run(service, seed, make);
                drawn.get_or_insert_with(|| run.points());
                run.figures()
            });
            let line = Line {
                name: name.to_owned(),
                points: drawn.expect("at least one run"),
            };
            (Row::worst(name, judged, &FIGURES, &runs), line)
        })
        .into_iter()
        .unzip();
    Scenario {
        id: "S11",
        title: "half-open: who probes, and how all come back",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows,
        charts: vec![chart(lines)],
        notes: String::new(),
    }
}

fn config() -> BreakerConfig {
    let (first, longest) = (Duration::from_secs(1), Duration::from_secs(10));
    BreakerConfig::new()
        .with_failure_share(0.25)
        .and_then(|config| config.with_consecutive(20))
        .and_then(|config| config.with_open_time(first, longest))
        .expect("within the bounds")
}

fn run(service: Service, seed: u64, make: Make) -> Shown {
    let mut seeds = Rng::new(seed);
    let mut breakers: Vec<_> = (0..PROCESSES).map(|_| make(seeds.u64())).collect();
    let (mut arrivals, mut rng) = (Rng::new(seeds.u64()), Rng::new(seeds.u64()));
    let stream = Stream::new(Tier::DEFAULT, vec![(0, RATE)]);
    let mut target = Serving::default();
    let mut events = Events::new();
    let mut calls: Vec<Call> = Vec::new();
    let tenths = || vec![0; 10 * END as usize + 1];
    let mut shown = Shown {
        came: tenths(),
        sent: tenths(),
        good: tenths(),
        failed: tenths(),
        callers: Default::default(),
        not_back: 0,
    };
    for process in 0..PROCESSES {
        let first = stream.next(0, &mut arrivals).expect("calls come");
        events.at(first, Event::Arrival(process));
    }

    while let Some((now, event)) = events.next(END * SECOND) {
        match event {
            Event::Arrival(process) => {
                let next = stream.next(now, &mut arrivals).expect("calls come");
                events.at(next, Event::Arrival(process));
                // The first makes as many calls as all the others together.
                let draw = rng.u64() % (2 * (CALLERS - 1));
                let caller = draw.saturating_sub(CALLERS - 2) as usize;
                let takes = service.draw_around(TAKES, &mut rng);
                let breaker = &mut breakers[process];
                let passed = breaker.ask(now);
                let is_back = now >= DOWN.end * SECOND;
                if !breaker.is_closed(now) {
                    shown.not_back = now;
                    let callers = &mut shown.callers[caller];
                    callers.0 += u64::from(is_back);
                    callers.1 += u64::from(is_back && passed.is_some());
                }
                shown.came[tenth(now)] += 1;
                shown.sent[tenth(now)] += u64::from(passed.is_some());
                events.at(now + takes, Event::Ended(calls.len()));
                calls.push(Call {
                    process,
                    began: now,
                    passed,
                });
            }
            Event::Ended(id) => {
                let call = &mut calls[id];
                let Some(passed) = call.passed.take() else {
                    continue;
                };
                let breaker = &mut breakers[call.process];
                let good = target.serves(now);
                if rng.u64().is_multiple_of(LEFT) {
                    breaker.abandoned(passed, now);
                    continue;
                }
                shown.good[tenth(now)] += u64::from(good);
                shown.failed[tenth(now)] += u64::from(!good);
                breaker.ended(passed, !good, now - call.began, now);
            }
        }
    }
    shown
}

fn tenth(now: u64) -> usize {
    (10 * now / SECOND) as usize
}

fn chart(lines: Vec<Line>) -> Chart {
    Chart {
        file: "s11-good",
        title: "S11: good answers before, while and after the target is down, exponential"
            .to_owned(),
        x: Axis {
            label: "time, s",
            from: 0.0,
            to: END as f64,
            step: 30.0,
        },
        y: Axis {
            label: "good answers, 1/s",
            from: 0.0,
            to: 1_200.0,
            step: 200.0,
        },
        span: Some((DOWN.start as f64, DOWN.end as f64, "down")),
        lines,
    }
}

// === impl Serving ===

impl Serving {
    fn serves(&mut self, now: u64) -> bool {
        if now < DOWN.start * SECOND {
            return true;
        }
        if now < DOWN.end * SECOND {
            return false;
        }
        let tenth = 10 * now / SECOND;
        if self.tenth != tenth {
            (self.tenth, self.in_it) = (tenth, 0);
        }
        let can = (COLD + self.served / SERVED_FOR_ONE_MORE).min(WARM);
        self.in_it += 1;
        let serves = 10 * self.in_it <= can;
        self.served += u64::from(serves);
        serves
    }
}

// === impl Shown ===

impl Shown {
    fn points(&self) -> Vec<(f64, f64)> {
        let seconds = self.good[..10 * END as usize].chunks(10).enumerate();
        let points =
            seconds.map(|(second, good)| (second as f64 + 0.5, good.iter().sum::<u64>() as f64));
        points.collect()
    }

    fn figures(&self) -> Vec<f64> {
        let down = 10 * SEEN as usize..10 * DOWN.end as usize;
        let back = 10 * DOWN.end as usize..10 * END as usize;
        let sum = |of: &[u64]| of.iter().sum::<u64>() as f64;
        let together = self.sent[down.clone()].iter().max();
        let not_back = self.not_back.saturating_sub(DOWN.end * SECOND);
        let back_after = if self.not_back + SECOND > END * SECOND {
            f64::INFINITY
        } else {
            not_back as f64 / SECOND as f64
        };
        vec![
            100.0 * sum(&self.sent[down.clone()]) / sum(&self.came[down]),
            *together.expect("there are some") as f64,
            back_after,
            100.0 * sum(&self.failed[back.clone()]) / sum(&self.came[back]),
            self.least_share(),
        ]
    }

    /// What part of their calls passed while breakers were not closed: that of the caller of which
    /// the fewest did, in percent of that of all; 100 where there was nothing to share.
    fn least_share(&self) -> f64 {
        let part = |&(came, passed): &(u64, u64)| passed as f64 / came.max(1) as f64;
        let callers = self.callers.iter();
        let all = callers
            .clone()
            .fold((0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        if all.0 == 0 {
            return 100.0;
        }
        let least = callers.map(part).fold(f64::INFINITY, f64::min);
        100.0 * least / part(&all).max(f64::MIN_POSITIVE)
    }
}
