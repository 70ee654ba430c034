//! S1: a limit that nobody had to guess.
//!
//! Seventy percent of the capacity come, then twice or ten times the capacity, then seventy percent
//! again. A good limit rejects nobody at seventy percent, and under the overload keeps all workers
//! busy without making anybody wait.

use steadfast::context::Tier;
use steadfast::decide::limit::{Limit, LimitConfig};

use crate::chart::{Axis, Chart, Line};
use crate::engine::{Front, World, surge};
use crate::fronts::{Aimd, Fixed, Limited, Unlimited, Vegas};
use crate::load::{SECOND, SERVICES, Service};
use crate::metrics::Metrics;
use crate::scenario::{Figure, Row, SEEDS, Scenario, Target};

const STORY: &str = "\
One tier; 0.7 times the capacity for 60 s, then 2 or 10 times the capacity for 60 s, then 0.7 times again.
Goodput counts the whole overload, its first second included; p99 is that of answers from two seconds after
the step on, by that of a fixed limit of twice the workers, which somebody who knows the workers would set.
Rejections at 0.7 times count from the start and from two seconds after the step back. A limit is settled
when it stays within half to twice of what it is in the second half of the overload.";

const NOTES: &str = "\
Percent of capacity is percent of what the workers could do with the services that were drawn: ten thousands of
services of random length take a little more or less than their mean in all, which is luck and no merit.";

const FIGURES: [Figure; 4] = [
    Figure {
        name: GOODPUT,
        decimals: 1,
        target: Target::AtLeast(98.0),
    },
    Figure {
        name: "p99, times that of fixed",
        decimals: 2,
        target: Target::AtMost(1.3),
    },
    Figure {
        name: "rejected at 0.7 times, %",
        decimals: 2,
        target: Target::AtMost(0.0),
    },
    Figure {
        name: "settled after, s",
        decimals: 1,
        target: Target::AtMost(2.0),
    },
];

/// The goodput during the overload.
pub const GOODPUT: &str = "goodput, % of capacity";

/// How long each of the three phases lasts, in seconds.
const PHASE: u64 = 60;

/// How long a limit may take to settle, in seconds.
const SETTLE: u64 = 2;

const LOADS: [f64; 2] = [2.0, 10.0];

/// The run that is drawn.
const DRAWN: (f64, Service, u64) = (10.0, Service::Exponential, SEEDS[0]);

/// Makes a front, new for each run.
type Contender = (&'static str, bool, fn() -> Box<dyn Front>);

const CONTENDERS: [Contender; 5] = [
    ("ours", true, || Box::new(Limited::new(ours()))),
    (FIXED, false, || Box::new(Limited::new(Fixed(WORTH)))),
    ("Vegas, sample by sample", false, || {
        Box::new(Limited::new(Vegas::new(WORTH)))
    }),
    ("AIMD on time-outs", false, || {
        Box::new(Limited::new(Aimd::new(WORTH)))
    }),
    ("unlimited", false, || Box::new(Limited::new(Unlimited))),
];

/// What somebody would set who knows the workers: as many again may wait.
const WORTH: u32 = 20;

const FIXED: &str = "fixed at 2 × workers";

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let mut measured = [(); CONTENDERS.len()].map(|()| Vec::new());
    let mut lines = Vec::new();
    for (load, service, seed) in all_runs() {
        let world = world(load, service);
        let fixed = world.run(seed, &mut Limited::new(Fixed(WORTH)));
        for ((name, judged, front), measured) in CONTENDERS.iter().zip(&mut measured) {
            if *judged || seed == SEEDS[0] {
                let run = world.run(seed, &mut *front());
                measured.push(figures(&run, &fixed));
                if (load, service, seed) == DRAWN {
                    lines.push(Line {
                        name: (*name).to_owned(),
                        points: run.goodput(None),
                    });
                }
            }
        }
    }
    let rows = CONTENDERS.iter().zip(&measured);
    Scenario {
        id: "S1",
        title: "a limit that nobody had to guess",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows: rows
            .map(|((name, judged, _), runs)| Row::worst(name, *judged, &FIGURES, runs))
            .collect(),
        charts: vec![chart(lines)],
        notes: NOTES.to_owned(),
    }
}

fn all_runs() -> impl Iterator<Item = (f64, Service, u64)> {
    let services = |load| SERVICES.into_iter().map(move |service| (load, service));
    LOADS
        .into_iter()
        .flat_map(services)
        .flat_map(|(load, service)| SEEDS.into_iter().map(move |seed| (load, service, seed)))
}

fn ours() -> Limit {
    Limit::new(LimitConfig::bare()).expect("the default")
}

fn world(load: f64, service: Service) -> World {
    let streams = surge(Tier::CORE, 0.7, load, [PHASE; 3]);
    World::new(streams, service, 3 * PHASE * SECOND)
}

fn figures(run: &Metrics, fixed: &Metrics) -> Vec<f64> {
    let overload = PHASE..2 * PHASE;
    let p99 = |run: &Metrics| run.quantile_ms(Tier::CORE, PHASE + SETTLE..2 * PHASE, 0.99);
    let mut quiet = run.total(0..PHASE);
    let after = run.total(2 * PHASE + SETTLE..3 * PHASE);
    quiet.offered += after.offered;
    quiet.rejected += after.rejected;
    vec![
        run.percent_of_capacity(overload),
        p99(run) / p99(fixed),
        100.0 * quiet.rejected as f64 / quiet.offered as f64,
        settled_after(run),
    ]
}

/// How long after the step the limit was last outside of half to twice its later median, in seconds.
fn settled_after(run: &Metrics) -> f64 {
    let during = |from: u64, to: u64| {
        let within = move |&&(at, _): &&(u64, u32)| (from * SECOND..to * SECOND).contains(&at);
        run.limits().iter().filter(within)
    };
    let mut later: Vec<u32> = during(PHASE + PHASE / 2, 2 * PHASE)
        .map(|&(_, limit)| limit)
        .collect();
    later.sort_unstable();
    let median = u64::from(later[later.len() / 2]);
    let out = |limit: u32| 2 * u64::from(limit) < median || u64::from(limit) > 2 * median;
    match during(PHASE, 2 * PHASE).rfind(|&&(_, limit)| out(limit)) {
        Some(&(at, _)) if at >= (2 * PHASE - 1) * SECOND => f64::INFINITY,
        Some(&(at, _)) => (at - PHASE * SECOND) as f64 / SECOND as f64 + 0.1,
        None => 0.0,
    }
}

fn chart(lines: Vec<Line>) -> Chart {
    Chart {
        file: "s1-goodput",
        title: "S1: goodput under ten times the load, exponential service".to_owned(),
        x: Axis {
            label: "time, s",
            from: 0.0,
            to: 3.0 * PHASE as f64,
            step: 30.0,
        },
        y: Axis {
            label: "answers in time, 1/s",
            from: 0.0,
            to: 1_200.0,
            step: 200.0,
        },
        span: Some((PHASE as f64, 2.0 * PHASE as f64, "10 × capacity")),
        lines,
    }
}
