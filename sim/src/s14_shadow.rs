//! S14: a policy in shadow says what it would do, and does nothing.
//!
//! # The model
//!
//! The server of S1 without any limit, and an admission in shadow before it: each request is served
//! at once, and a shadow of it waits for a permit in its stead. 0.7 times the capacity for twenty
//! seconds, then twice the capacity for two, then 0.7 times again.

use std::collections::HashMap;

use steadfast::context::Tier;
use steadfast::decide::admission::AdmissionConfig;

use crate::engine::{Decision, Front, Request, World, surge};
use crate::fronts::{Fixed, Guarded, Limited, Unlimited};
use crate::load::{SECOND, Service, WORKERS};
use crate::metrics::Metrics;
use crate::scenario::{Figure, Row, Scenario, Target, runs};

const STORY: &str = "\
A server without any limit; 0.7 times the capacity for 20 s, twice the capacity for 10 s, then 0.7 times again for
20 s. Before it an admission with twice as many permits as there are workers and 50 places to wait, in shadow: each
request is served at once, and its shadow asks for a permit, waits and is rejected in its stead. What became of the
requests of each tenth of a second is compared with the same run without any admission.";

const FIGURES: [Figure; 4] = [
    Figure {
        name: REJECTED,
        decimals: 0,
        target: Target::AtMost(0.0),
    },
    Figure {
        name: OTHERWISE,
        decimals: 0,
        target: Target::AtMost(0.0),
    },
    Figure {
        name: "said at 0.7 times, %",
        decimals: 1,
        target: Target::AtMost(0.0),
    },
    Figure {
        name: SAID,
        decimals: 1,
        target: Target::AtLeast(40.0),
    },
];

/// How many requests are rejected.
pub const REJECTED: &str = "rejected";

/// In how many tenths of a second something else became of the requests than without it.
pub const OTHERWISE: &str = "tenths of a second that differ";

/// What part of the overload it says that it would reject.
pub const SAID: &str = "said at twice the capacity, %";

const BEFORE: u64 = 20;
const OVERLOAD: u64 = 10;

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let rows = [("ours, in shadow", true), ("the same, in force", false)];
    let rows = rows.map(|(name, shadow)| {
        let runs = runs(shadow, |service, seed| run(service, seed, shadow));
        Row::worst(name, shadow, &FIGURES, &runs)
    });
    Scenario {
        id: "S14",
        title: "in shadow nothing is rejected",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows: rows.to_vec(),
        charts: Vec::new(),
        notes: NOTES.to_owned(),
    }
}

const NOTES: &str = "\
In shadow it says more than in force it would do: since nothing is rejected, the overload goes on for longer, and who
is served late holds the permit of its shadow for longer, too. It tells whether and when a policy would act, not how
many requests it would cost.";

fn run(service: Service, seed: u64, shadow: bool) -> Vec<f64> {
    let streams = surge(Tier::CORE, 0.7, 2.0, [BEFORE, OVERLOAD, BEFORE]);
    let world = World::new(streams, service, (2 * BEFORE + OVERLOAD) * SECOND);
    let bare = world.run(seed, &mut Limited::new(Unlimited));
    let mut front = Shadow::new(shadow);
    let run = world.run(seed, &mut front);
    let (rejected, differ) = compare(&run, &bare);
    let said = |from: u64, to: u64| {
        let within = |at: &&u64| (from * SECOND..to * SECOND).contains(*at);
        let said = front.said.iter().filter(within).count();
        100.0 * said as f64 / run.total(from..to).offered as f64
    };
    vec![
        rejected,
        differ,
        said(0, BEFORE),
        said(BEFORE, BEFORE + OVERLOAD),
    ]
}

fn compare(run: &Metrics, bare: &Metrics) -> (f64, f64) {
    let rejected: u64 = run.tenths().map(|tenth| tenth.rejected).sum();
    let differ = run.tenths().zip(bare.tenths()).filter(|(a, b)| a != b);
    (rejected as f64, differ.count() as f64)
}

/// An admission of whose decisions somebody hears, or not.
struct Shadow {
    guarded: Guarded<Fixed>,
    /// Nothing of what it says is done.
    shadow: bool,
    /// When those came that it would have rejected.
    said: Vec<u64>,
    /// Whose shadow has a permit, and since when; those that wait have none.
    shadows: HashMap<u32, Option<u64>>,
    arrived: Vec<u64>,
    told: Vec<Decision>,
}

impl Shadow {
    fn new(shadow: bool) -> Self {
        let permits = Fixed(2 * WORKERS as u32);
        let config = AdmissionConfig {
            waiting_max: 50,
            ..AdmissionConfig::default()
        };
        Self {
            guarded: Guarded::new(permits, config).expect("within the bounds"),
            shadow,
            said: Vec::new(),
            shadows: HashMap::new(),
            arrived: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Does to the shadows what was decided, and to the requests if it is in force.
    fn follow(&mut self, now: u64, decisions: &mut Vec<Decision>) {
        for decision in self.told.drain(..) {
            match decision {
                Decision::Admit(id) => {
                    self.shadows.insert(id, Some(now));
                }
                Decision::Reject(id) => {
                    self.said.push(self.arrived[id as usize]);
                    self.shadows.remove(&id);
                }
            }
            if !self.shadow {
                decisions.push(decision);
            }
        }
    }
}

impl Front for Shadow {
    fn arrive(&mut self, request: &Request, now: u64, decisions: &mut Vec<Decision>) {
        self.arrived.push(now);
        self.shadows.insert(request.id, None);
        self.guarded.arrive(request, now, &mut self.told);
        self.follow(now, decisions);
        if self.shadow {
            decisions.push(Decision::Admit(request.id));
        }
    }

    fn ended(&mut self, request: &Request, _: u64, now: u64, decisions: &mut Vec<Decision>) {
        match self.shadows.remove(&request.id) {
            Some(Some(since)) => {
                self.guarded.ended(request, since, now, &mut self.told);
                self.follow(now, decisions);
            }
            // It is still waiting for the permit that its request did not need.
            Some(None) => self.guarded.gave_up(request, now),
            None => {}
        }
    }

    fn gave_up(&mut self, request: &Request, now: u64) {
        if self.shadows.remove(&request.id).is_some() {
            self.guarded.gave_up(request, now);
        }
    }

    fn limit(&self) -> u32 {
        self.guarded.limit()
    }
}
