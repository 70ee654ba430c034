//! S4: a target falters for ten seconds, and its callers retry.
//!
//! # The model
//!
//! Ten workers serve 1,000 requests a second; 700 or 800 come. Each client waits 250 ms for an
//! attempt and makes up to four. From second 10 to second 20 the target has 30 % of its capacity,
//! by fewer workers or by slower service. Then it has all of it again, and the question is whether
//! its callers let it recover.
//!
//! What a client gave up is not known to the target: the work stays in the queue and is executed,
//! unless the target is told the deadline.
//!
//! # Who competes
//!
//! Clients that retry are judged by the rules of [`steadfast::decide::budget`], or retry whatever
//! fails, with or without jitter. The target takes everything first in, first out, or stands behind
//! our admission, with a limit of twice the workers or with the one that finds itself.
//!
//! # How it is judged
//!
//! By goodput: requests that got an answer within the 250 ms of one of their attempts.

use std::time::Duration;

use steadfast::context::Tier;
use steadfast::decide::admission::AdmissionConfig;
use steadfast::decide::backoff::Backoff;
use steadfast::decide::budget::{
    Failed, Failure, Replay, RetryBudget, RetryCall, RetryDecision, RetryRule,
};

use crate::chart::{Axis, Chart, Line};
use crate::engine::{Front, Request, Retry, World};
use crate::fronts::{Fixed, Guarded, Limited, Unlimited};
use crate::load::{CAPACITY, MS, SECOND, SERVICE, Service, Stream, WORKERS};
use crate::metrics::Metrics;
use crate::rng::Rng;
use crate::s2_tiers;
use crate::scenario::{Figure, Row, Scenario, Target, runs};

const STORY: &str = "\
70 or 80 % of the capacity come. From second 10 to second 20 the target has 30 % of its capacity left, by fewer
workers or by slower service. A client waits 250 ms for an attempt and makes up to four. Ours is a retry budget
of 10 % and the admission, which lets in twice as many as there are workers, or as many as it has learned; the
others lack one or both. The target has recovered after the last tenth of a second in which less than 95 % of
the requests are answered in time.";

const FIGURES: [Figure; 4] = [
    Figure {
        name: RECOVERS,
        decimals: 1,
        target: Target::AtMost(1.0),
    },
    Figure {
        name: SERVED,
        decimals: 1,
        target: Target::AtLeast(29.0),
    },
    Figure {
        name: ATTEMPTS,
        decimals: 2,
        target: Target::AtMost(1.1),
    },
    Figure {
        name: "in time in the last 10 s, %",
        decimals: 1,
        target: Target::AtLeast(99.9),
    },
];

/// When the target has recovered.
pub const RECOVERS: &str = "recovers after, s";

/// What is answered in time during the fault.
pub const SERVED: &str = "served in the fault, % of healthy capacity";

/// How often a request is sent.
pub const ATTEMPTS: &str = "attempts a request";

const NOTES: &str = "\
What is served in the fault is corrected for luck: three thousand services of random length take a few percent
more or less than their mean in all.";

/// The part of the capacity that is left during the fault.
const LEFT: f64 = 0.3;

/// The most attempts of a request, the first included.
const ATTEMPTS_MAX: u8 = 4;

/// How long a client waits for an attempt.
const PATIENCE: u64 = 250 * MS;

const FAULT: std::ops::Range<u64> = 10..20;
const END: u64 = 60;

/// A tenth of a second in which fewer of the requests than this are answered in time is not healthy.
const HEALTHY: f64 = 0.95;

const LOADS: [f64; 2] = [0.7, 0.8];

/// How the capacity falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Seven of ten workers are gone; what they had begun, they end.
    FewerWorkers,
    /// All services that begin take 1 / 0.3 times as long.
    SlowerService,
}

/// Who retries whatever fails.
#[derive(Clone, Copy, Debug)]
struct Naive {
    /// After a wait with exponential backoff and full jitter, or at once.
    backoff: Option<Backoff>,
}

/// Who retries what the rule allows, within a share of the calls.
#[derive(Clone, Debug)]
struct Budgeted {
    rule: RetryRule,
    budget: RetryBudget,
    backoff: Backoff,
}

/// Makes clients or a front, new for each run.
type Clients = fn() -> Box<dyn Retry>;
type Protection = fn() -> Box<dyn Front>;

const OURS: &str = "ours";
const LEARNING: &str = "ours, limit learned";

const CONTENDERS: [(&str, bool, Clients, Protection); 6] = [
    (OURS, true, budgeted, admission),
    (LEARNING, true, budgeted, learning),
    ("no budget, jitter", false, jittered, admission),
    ("no admission", false, budgeted, nothing),
    ("neither, jitter", false, jittered, nothing),
    ("neither, at once", false, at_once, nothing),
];

const SHORT: &str = "\
It has to notice first. When all \
services turn slow at once, the limit cannot tell that from a queue, and looks for one by going down until \
throughput falls with it; below the ten workers that costs goodput, for half a second in good cases and for six \
of the ten in the worst. When workers are gone instead, there is a queue to be seen, and it serves 28.6 % at \
worst and 29.2 % on average. After the fault it has to grow again, from a few to ten, in windows of a hundred \
requests. Who knows the number of workers sets the limit.";

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let (rows, lines) = CONTENDERS
        .map(|(name, judged, clients, protection)| {
            let mut drawn = None;
            let mut measured = Vec::new();
            for load in LOADS {
                for fault in [Fault::FewerWorkers, Fault::SlowerService] {
                    measured.extend(runs(judged, |service, seed| {
                        let world = world(load, fault, service);
                        let run = world.run_with(seed, &mut *protection(), &mut *clients());
                        drawn.get_or_insert_with(|| run.goodput(None));
                        figures(&run, fault)
                    }));
                }
            }
            let line = Line {
                name: name.to_owned(),
                points: drawn.expect("at least one run"),
            };
            let mut row = Row::worst(name, judged, &FIGURES, &measured);
            row.short = (name == LEARNING).then_some(SHORT);
            (row, line)
        })
        .into_iter()
        .unzip();
    Scenario {
        id: "S4",
        title: "a target falters, and its callers retry",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows,
        charts: vec![chart(lines)],
        notes: NOTES.to_owned(),
    }
}

fn budgeted() -> Box<dyn Retry> {
    Box::new(Budgeted {
        rule: RetryRule::new(ATTEMPTS_MAX).expect("within the bound"),
        budget: RetryBudget::new(0.1).expect("a share"),
        backoff: backoff(),
    })
}

fn jittered() -> Box<dyn Retry> {
    Box::new(Naive {
        backoff: Some(backoff()),
    })
}

fn at_once() -> Box<dyn Retry> {
    Box::new(Naive { backoff: None })
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(1)).expect("within the bounds")
}

fn admission() -> Box<dyn Front> {
    let permits = Fixed(2 * WORKERS as u32);
    Box::new(Guarded::new(permits, AdmissionConfig::default()).expect("the default"))
}

fn learning() -> Box<dyn Front> {
    Box::new(s2_tiers::ours())
}

fn nothing() -> Box<dyn Front> {
    Box::new(Limited::new(Unlimited))
}

fn world(load: f64, fault: Fault, service: Service) -> World {
    let rate = vec![(0, load * CAPACITY), (END * SECOND, 0.0)];
    // What is under way at the end is ended; nothing new comes.
    let until = END * SECOND + u64::from(ATTEMPTS_MAX) * (PATIENCE + SECOND);
    let mut world = World::new(vec![Stream::new(Tier::CORE, rate)], service, until);
    world.patience = PATIENCE;
    let (from, to) = (FAULT.start * SECOND, FAULT.end * SECOND);
    match fault {
        Fault::FewerWorkers => {
            world.workers = vec![(0, WORKERS), (from, LEFT * WORKERS), (to, WORKERS)];
        }
        Fault::SlowerService => world.speed = vec![(0, 1.0), (from, LEFT), (to, 1.0)],
    }
    world
}

fn figures(run: &Metrics, fault: Fault) -> Vec<f64> {
    let mean_ms = match fault {
        Fault::FewerWorkers => SERVICE as f64 / 1e6,
        Fault::SlowerService => SERVICE as f64 / 1e6 / LEFT,
    };
    let luck = run.mean_service_ms(FAULT) / mean_ms;
    let seconds = (FAULT.end - FAULT.start) as f64;
    let served = run.answered(FAULT, PATIENCE) as f64 / seconds / CAPACITY;
    let all = run.total(0..END);
    vec![
        recovered_after(run),
        100.0 * served * luck,
        all.attempts as f64 / all.offered as f64,
        100.0 * run.total(END - 10..END).success(),
    ]
}

/// How long after the fault the last tenth of a second was not healthy, in seconds; infinite if that
/// was so in the last second.
fn recovered_after(run: &Metrics) -> f64 {
    let (from, to) = (10 * FAULT.end as usize, 10 * END as usize);
    let mut after = run.tenths().take(to).skip(from);
    match after.rposition(|tenth| tenth.success() < HEALTHY) {
        None => 0.0,
        Some(last) if last + 10 >= to - from => f64::INFINITY,
        Some(last) => (last + 1) as f64 / 10.0,
    }
}

fn chart(lines: Vec<Line>) -> Chart {
    Chart {
        file: "s4-goodput",
        title: "S4: goodput, 70 % load, exponential service, seven of ten workers gone".to_owned(),
        x: Axis {
            label: "time, s",
            from: 0.0,
            to: END as f64,
            step: 10.0,
        },
        y: Axis {
            label: "answers in time, 1/s",
            from: 0.0,
            to: 900.0,
            step: 100.0,
        },
        span: Some((FAULT.start as f64, FAULT.end as f64, "fault")),
        lines,
    }
}

// === impl Naive ===

impl Retry for Naive {
    fn failed(&mut self, request: &Request, _: Failure, _: u64, rng: &mut Rng) -> Option<u64> {
        if request.attempt >= u32::from(ATTEMPTS_MAX) {
            return None;
        }
        let delay = self
            .backoff
            .map(|backoff| backoff.delay(request.attempt, rng.u64()));
        Some(delay.unwrap_or_default().as_nanos() as u64)
    }
}

// === impl Budgeted ===

impl Retry for Budgeted {
    fn answered(&mut self, now: u64) {
        self.budget.count_success(now);
    }

    fn failed(&mut self, request: &Request, how: Failure, now: u64, rng: &mut Rng) -> Option<u64> {
        let call = RetryCall::new(Replay::Safe);
        let attempt = u8::try_from(request.attempt).unwrap_or(u8::MAX);
        let delay = self.backoff.delay(request.attempt, rng.u64());
        let failed = Failed::new(attempt, how);
        let decision = self
            .rule
            .decide(&call, &failed, delay, now, &mut [&mut self.budget]);
        match decision {
            RetryDecision::Retry { after, .. } => Some(after.as_nanos() as u64),
            RetryDecision::Stop(_) => None,
        }
    }
}
