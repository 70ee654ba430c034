//! S8: what it costs to say no.
//!
//! At ten times the load nine of ten requests are rejected, and whoever rejects them is the server
//! that has too much to do already. So the price of a rejection decides how much of it is left.

use steadfast::context::Tier;
use steadfast::decide::limit::{Limit, LimitConfig};

use crate::engine::{World, surge};
use crate::fronts::Limited;
use crate::load::{SECOND, Service};
use crate::scenario::{Figure, Row, Scenario, Target, runs};

const STORY: &str = "\
S1 at 10 times the capacity with our limit, but each rejection keeps a worker busy for a while, before anything
else. Our budget is 1 µs in process, which a test measures, and 15 µs of CPU over HTTP.";

const FIGURES: [Figure; 1] = [Figure {
    name: GOODPUT,
    decimals: 1,
    target: Target::AtLeast(98.0),
}];

/// The goodput during the overload.
pub const GOODPUT: &str = "goodput, % of capacity";

const NOTES: &str = "\
At 10 times the capacity there are nine rejections for each service. So each hundredth of a service that a
rejection takes costs nine hundredths of the capacity: 0.3 ms of 10 ms are 3 %, and 27 % are lost.";

const BEFORE: u64 = 10;
const OVERLOAD: u64 = 20;

/// Names, whether it has to meet the target, and nanoseconds of a worker for each rejection.
const PRICES: [(&str, bool, u64); 5] = [
    ("free", true, 0),
    ("1 µs, our budget in process", true, 1_000),
    ("15 µs, our budget over HTTP", true, 15_000),
    ("100 µs", false, 100_000),
    ("300 µs", false, 300_000),
];

/// Runs all prices.
#[must_use]
pub fn scenario() -> Scenario {
    let rows = PRICES.map(|(name, judged, price_ns)| {
        let runs = runs(judged, |service, seed| {
            vec![goodput(service, seed, price_ns)]
        });
        Row::worst(name, judged, &FIGURES, &runs)
    });
    Scenario {
        id: "S8",
        title: "the price of a rejection",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows: rows.to_vec(),
        charts: Vec::new(),
        notes: NOTES.to_owned(),
    }
}

fn goodput(service: Service, seed: u64, price_ns: u64) -> f64 {
    let streams = surge(Tier::CORE, 0.7, 10.0, [BEFORE, OVERLOAD, 0]);
    let mut world = World::new(streams, service, (BEFORE + OVERLOAD) * SECOND);
    world.rejection_cost = price_ns;
    let limit = Limit::new(LimitConfig::bare()).expect("the default");
    let run = world.run(seed, &mut Limited::new(limit));
    run.percent_of_capacity(BEFORE..BEFORE + OVERLOAD - 1)
}
