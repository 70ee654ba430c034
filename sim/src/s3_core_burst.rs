//! S3: core itself doubles, in the middle of the overload.
//!
//! A share that was sized for yesterday's core traffic confines it today. Importance does not.

use steadfast::context::Tier;

use crate::chart::{Axis, Chart, Line};
use crate::engine::World;
use crate::load::{SECOND, Service, Stream};
use crate::metrics::Metrics;
use crate::s2_tiers::{CORE, CORE_RATE, RISE, TOTAL, compete, core_percent, rise};
use crate::scenario::{Figure, Scenario, Target};

const STORY: &str = "\
As S2, but after five seconds at 10 times the capacity core goes from 300/s to 600/s, for 12 s. Core counts
from the first second of its burst on.";

const FIGURES: [Figure; 3] = [
    Figure {
        name: CORE,
        decimals: 2,
        target: Target::AtLeast(99.5),
    },
    Figure {
        name: "core in its worst second, %",
        decimals: 1,
        target: Target::None,
    },
    Figure {
        name: TOTAL,
        decimals: 1,
        target: Target::AtLeast(98.0),
    },
];

const ALONE: u64 = 10;
const BURST: u64 = ALONE + RISE + 5;
const END: u64 = BURST + 12;

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let (rows, lines) = compete(&FIGURES, world, figures);
    Scenario {
        id: "S3",
        title: "core doubles in the middle of an overload",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows,
        charts: vec![chart(lines)],
        notes: String::new(),
    }
}

fn world(service: Service) -> World {
    let core = vec![(0, CORE_RATE), (BURST * SECOND, 2.0 * CORE_RATE)];
    let streams = vec![
        Stream::new(Tier::CORE, core),
        Stream::new(Tier::DEFAULT, rise(ALONE)),
    ];
    World::new(streams, service, END * SECOND)
}

fn figures(run: &Metrics) -> Vec<f64> {
    // Who came in the last second may still be under way.
    let burst = BURST..END - 1;
    let (core, worst) = core_percent(run, burst.clone());
    vec![core, worst, run.percent_of_capacity(burst)]
}

fn chart(lines: Vec<Line>) -> Chart {
    Chart {
        file: "s3-core",
        title: "S3: core's goodput in its burst, exponential service".to_owned(),
        x: Axis {
            label: "time, s",
            from: 0.0,
            to: END as f64,
            step: 10.0,
        },
        y: Axis {
            label: "core in time, 1/s",
            from: 0.0,
            to: 700.0,
            step: 100.0,
        },
        span: Some((BURST as f64, END as f64, "core 600/s")),
        lines,
    }
}
