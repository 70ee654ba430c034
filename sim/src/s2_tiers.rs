//! S2: the tier that the service exists for, beside ten times the load.
//!
//! Core traffic stays what it was and would fit easily. What is less important is raised until all
//! together is ten times the capacity. A good admission serves core as if nothing had happened, and
//! fills what is left with the others.

use steadfast::context::Tier;
use steadfast::decide::admission::AdmissionConfig;
use steadfast::decide::limit::{Limit, LimitConfig};

use crate::chart::{Axis, Chart, Line};
use crate::engine::{Front, World};
use crate::fronts::{Fixed, Guarded, Limited, PriorityQueue, Shares, Unlimited};
use crate::load::{CAPACITY, SECOND, Service, Steps, Stream};
use crate::metrics::Metrics;
use crate::scenario::{Figure, Row, Scenario, Target, runs};

const STORY: &str = "\
Two tiers. Core is steady at 300/s and alone for 60 s; then the other tier is raised every second until after
ten seconds both together are 10 times the capacity, for 30 s. Core counts from the first second of the rise
on, the total from its end on. Core's p99 is compared with what it was alone, from two seconds after the
beginning of the rise on, when the limit has settled; what it is in those two seconds stands beside it.";

const FIGURES: [Figure; 5] = [
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
        name: TOTAL,
        decimals: 1,
        target: Target::AtLeast(98.0),
    },
    Figure {
        name: "core p99, times that alone",
        decimals: 2,
        target: Target::AtMost(1.2),
    },
    Figure {
        name: "in the first 2 s, ms",
        decimals: 0,
        target: Target::None,
    },
];

/// What part of core is answered in time.
pub const CORE: &str = "core in time, %";

/// What is answered in time of all tiers.
pub const TOTAL: &str = "all in time, % of capacity";

/// Core's load, in requests a second.
pub const CORE_RATE: f64 = 300.0;

/// For how long the other tier rises, in seconds.
pub const RISE: u64 = 10;

const ALONE: u64 = 60;
const FULL: u64 = ALONE + RISE;
const END: u64 = FULL + 30;

/// How long the limit may take to settle, in seconds.
const SETTLE: u64 = 2;

/// Who competes here and in S3: name, whether it is ours, and how to make it.
pub type Contender = (&'static str, bool, fn() -> Box<dyn Front>);

/// Who competes here and in S3.
pub const CONTENDERS: [Contender; 5] = [
    ("ours", true, || Box::new(ours())),
    ("a share of the permits for each tier", false, || {
        Box::new(Shares::new(10))
    }),
    ("one limit, priority in its queue", false, || {
        Box::new(PriorityQueue::new(10, 100))
    }),
    ("one limit, no tiers", false, || {
        Box::new(Limited::new(Fixed(20)))
    }),
    ("unlimited", false, || Box::new(Limited::new(Unlimited))),
];

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let (rows, lines) = compete(&FIGURES, world, figures);
    Scenario {
        id: "S2",
        title: "core traffic beside ten times the load",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows,
        charts: vec![chart(lines)],
        notes: String::new(),
    }
}

/// Runs all contenders in a world; returns what they got, and core's goodput by second in the
/// first run of each.
pub fn compete(
    figures: &[Figure],
    world: fn(Service) -> World,
    measure: fn(&Metrics) -> Vec<f64>,
) -> (Vec<Row>, Vec<Line>) {
    let rows = CONTENDERS.map(|(name, judged, front)| {
        let mut first = None;
        let runs = runs(judged, |service, seed| {
            let run = world(service).run(seed, &mut *front());
            first.get_or_insert_with(|| run.goodput(Some(Tier::CORE)));
            measure(&run)
        });
        let line = Line {
            name: name.to_owned(),
            points: first.expect("at least one run"),
        };
        (Row::worst(name, judged, figures, &runs), line)
    });
    rows.into_iter().unzip()
}

/// Ours as it comes: the defaults of the limit behind a queue and of the queue.
#[must_use]
pub fn ours() -> Guarded<Limit> {
    let limit = Limit::new(LimitConfig::queued()).expect("the default");
    Guarded::new(limit, AdmissionConfig::default()).expect("the default")
}

/// The load of the other tier: nothing, then a rise from `from` on, in seconds, until all together
/// is ten times the capacity.
#[must_use]
pub fn rise(from: u64) -> Steps {
    let top = 10.0 * CAPACITY - CORE_RATE;
    let step = |second| {
        let share = (second + 1) as f64 / RISE as f64;
        ((from + second) * SECOND, share * top)
    };
    std::iter::once((0, 0.0))
        .chain((0..RISE).map(step))
        .collect()
}

/// The part of core's requests that was answered in time, in percent: in all these seconds, and in
/// the worst of them.
#[must_use]
pub fn core_percent(run: &Metrics, seconds: std::ops::Range<u64>) -> (f64, f64) {
    let worst = seconds
        .clone()
        .map(|second| run.sum(Tier::CORE, second..second + 1).success())
        .fold(1.0, f64::min);
    (
        100.0 * run.sum(Tier::CORE, seconds).success(),
        100.0 * worst,
    )
}

fn world(service: Service) -> World {
    let streams = vec![
        Stream::new(Tier::CORE, vec![(0, CORE_RATE)]),
        Stream::new(Tier::DEFAULT, rise(ALONE)),
    ];
    World::new(streams, service, END * SECOND)
}

fn figures(run: &Metrics) -> Vec<f64> {
    // Who came in the last second may still be under way.
    let end = END - 1;
    let (core, worst) = core_percent(run, ALONE..end);
    let p99 = |seconds| run.quantile_ms(Tier::CORE, seconds, 0.99);
    vec![
        core,
        worst,
        run.percent_of_capacity(FULL..end),
        p99(ALONE + SETTLE..end) / p99(0..ALONE),
        p99(ALONE..ALONE + SETTLE),
    ]
}

fn chart(lines: Vec<Line>) -> Chart {
    Chart {
        file: "s2-core",
        title: "S2: core's goodput beside ten times the load, exponential service".to_owned(),
        x: Axis {
            label: "time, s",
            from: 40.0,
            to: END as f64,
            step: 10.0,
        },
        y: Axis {
            label: "core in time, 1/s",
            from: 0.0,
            to: 400.0,
            step: 100.0,
        },
        span: Some((FULL as f64, END as f64, "10 × capacity")),
        lines,
    }
}
