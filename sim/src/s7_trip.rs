//! S7: something that has worked for long stops working, and somebody has to notice.
//!
//! # The model
//!
//! A hundred calls a second, 10 ms each on average. After ten, a thousand or a hundred thousand
//! good ones, all calls fail, or three in ten do, or all take a second more. Nobody recovers: what
//! counts is how long it takes to stop.

use steadfast::context::Tier;
use steadfast::decide::breaker::BreakerConfig;

use crate::calls::{Guarding, InARow, NeverSlides, OurBreaker, Passed, ShareOfLast};
use crate::chart::{Axis, Chart, Line};
use crate::events::Events;
use crate::load::{MS, SECOND, Service, Stream};
use crate::rng::Rng;
use crate::scenario::{Figure, Row, Scenario, Target, runs};

const STORY: &str = "\
100 calls a second of 10 ms. After 10, 1,000 or 100,000 good ones every call fails; or 30 % of them do; or all of them
take a second longer. Ours trips at 25 % failures or 50 % slow calls (over 200 ms) of a window of ten seconds with at
least 20 calls, and at 20 failures in a row. What counts is how many failed calls have ended when the breaker trips,
or how long that takes. A thousand seconds in which 10 % of the calls fail must not trip it.";

const FIGURES: [Figure; 4] = [
    Figure {
        name: OUTAGE,
        decimals: 0,
        target: Target::AtMost(20.0),
    },
    Figure {
        name: PART,
        decimals: 1,
        target: Target::AtMost(20.0),
    },
    Figure {
        name: SLOW,
        decimals: 1,
        target: Target::AtMost(10.0),
    },
    Figure {
        name: FALSE,
        decimals: 0,
        target: Target::AtMost(0.0),
    },
];

/// How many calls have failed when it trips.
pub const OUTAGE: &str = "all fail: failures until it trips";

/// How long it takes to trip when some fail.
pub const PART: &str = "30 % fail: trips after, s";

/// How long it takes to trip when all are slow.
pub const SLOW: &str = "all slow: trips after, s";

/// How often it trips for nothing.
pub const FALSE: &str = "trips while 10 % fail";

const RATE: f64 = 100.0;
const MIN_CALLS: u32 = 20;
const SHARE: f64 = 0.25;
const SLOW_OVER: u64 = 200 * MS;

/// How many good calls come before.
const GOOD: [u64; 3] = [10, 1_000, 100_000];

/// How long is waited for somebody to trip, in seconds.
const END: u64 = 1_100;

/// How long it must not trip with one failure in ten, in seconds.
const CALM: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    AllFail,
    SomeFail,
    AllSlow,
    FewFail,
}

type Make = fn() -> Box<dyn Guarding>;

const CONTENDERS: [(&str, bool, Make); 4] = [
    (OURS, true, || Box::new(OurBreaker::new(config(), 1))),
    ("25 % of all calls since the start", false, || {
        Box::new(NeverSlides::new(SHARE, u64::from(MIN_CALLS), SLOW_OVER))
    }),
    ("25 % of the last 100 calls", false, || {
        Box::new(ShareOfLast::new(SHARE, 100))
    }),
    ("20 failures in a row", false, || {
        Box::new(InARow::new(MIN_CALLS))
    }),
];

const OURS: &str = "ours";

/// What the fault has cost when it trips.
#[derive(Clone, Debug)]
struct Trip {
    failures: u64,
    after_s: f64,
    /// The calls that passed, in each second of the fault.
    passed: Vec<f64>,
}

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let (rows, lines) = CONTENDERS
        .map(|(name, judged, make)| {
            let mut drawn = None;
            let runs = runs(judged, |service, seed| {
                let run =
                    |good, fault, seconds| run(service, seed, good, fault, seconds, &mut *make());
                let each = |fault| GOOD.map(|good| run(good, fault, END));
                let some = each(Fault::SomeFail);
                drawn.get_or_insert_with(|| some[2].points());
                let worst = |trips: [Trip; 3], figure: fn(&Trip) -> f64| {
                    trips.iter().map(figure).fold(0.0, f64::max)
                };
                let false_trip = run(GOOD[1], Fault::FewFail, CALM).after_s.is_finite();
                vec![
                    worst(each(Fault::AllFail), |trip| trip.count()),
                    worst(some, |trip| trip.after_s),
                    worst(each(Fault::AllSlow), |trip| trip.after_s),
                    f64::from(u8::from(false_trip)),
                ]
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
        id: "S7",
        title: "a breaker after long health",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows,
        charts: vec![chart(lines)],
        notes: NOTES.to_owned(),
    }
}

const NOTES: &str = "\
Three failures in ten reach a quarter of the window when five sixths of the window are new; more calls before do not
make that later, since they have left the window. A count since the start lets a third as many failures pass as there
were good calls before, and looks for minutes at something that is plainly down.";

/// Ours as the story says.
#[must_use]
pub fn config() -> BreakerConfig {
    BreakerConfig::new()
        .with_failure_share(SHARE)
        .and_then(|config| config.with_consecutive(MIN_CALLS))
        .and_then(|config| config.with_slow(std::time::Duration::from_nanos(SLOW_OVER), 0.5))
        .expect("within the bounds")
}

/// Lets so many good calls end, and then a fault begin, until somebody trips.
fn run(
    service: Service,
    seed: u64,
    good: u64,
    fault: Fault,
    seconds: u64,
    breaker: &mut dyn Guarding,
) -> Trip {
    let mut rng = Rng::new(seed);
    let stream = Stream::new(Tier::DEFAULT, vec![(0, RATE)]);
    let mut now = 0;
    for _ in 0..good {
        now = stream.next(now, &mut rng).expect("calls come");
        let passed = breaker.ask(now).expect("nothing has failed yet");
        let took = service.draw(&mut rng);
        breaker.ended(passed, false, took.min(SLOW_OVER), now);
    }

    let began = now;
    let mut trip = Trip {
        failures: 0,
        after_s: f64::INFINITY,
        passed: Vec::new(),
    };
    let mut events = Events::new();
    let mut calls: Vec<Option<(Passed, bool, u64)>> = Vec::new();
    let next = stream.next(now, &mut rng).expect("calls come");
    events.at(next, Event::Arrival);
    while let Some((now, event)) = events.next(began + seconds * SECOND) {
        match event {
            Event::Arrival => {
                let next = stream.next(now, &mut rng).expect("calls come");
                events.at(next, Event::Arrival);
                let Some(passed) = breaker.ask(now) else {
                    continue;
                };
                let failed = rng.unit() < fault.failing();
                let more = if fault == Fault::AllSlow { SECOND } else { 0 };
                let took = service.draw(&mut rng) + more;
                events.at(now + took, Event::Ended(calls.len()));
                calls.push(Some((passed, failed, took)));
                let second = ((now - began) / SECOND) as usize;
                trip.passed.resize(trip.passed.len().max(second + 1), 0.0);
                trip.passed[second] += 1.0;
            }
            Event::Ended(call) => {
                let (passed, failed, took) = calls[call].take().expect("it ends once");
                trip.failures += u64::from(failed);
                breaker.ended(passed, failed, took, now);
                if !breaker.is_closed(now) {
                    trip.after_s = (now - began) as f64 / SECOND as f64;
                    return trip;
                }
            }
        }
    }
    trip
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Ended(usize),
}

/// How many seconds are drawn.
const DRAWN: usize = 60;

fn chart(lines: Vec<Line>) -> Chart {
    Chart {
        file: "s7-passed",
        title: "S7: calls that pass after 100,000 good ones, 30 % failing, exponential".to_owned(),
        x: Axis {
            label: "time since the fault began, s",
            from: 0.0,
            to: DRAWN as f64,
            step: 10.0,
        },
        y: Axis {
            label: "calls, 1/s",
            from: 0.0,
            to: 150.0,
            step: 50.0,
        },
        span: None,
        lines,
    }
}

// === impl Fault ===

impl Fault {
    fn failing(self) -> f64 {
        match self {
            Self::AllFail => 1.0,
            Self::SomeFail => 0.3,
            Self::AllSlow => 0.0,
            Self::FewFail => 0.1,
        }
    }
}

// === impl Trip ===

impl Trip {
    /// How many calls have failed when it trips; infinite if it never does.
    fn count(&self) -> f64 {
        if self.after_s.is_finite() {
            self.failures as f64
        } else {
            f64::INFINITY
        }
    }

    fn points(&self) -> Vec<(f64, f64)> {
        let passed = |second: usize| self.passed.get(second).copied().unwrap_or(0.0);
        (0..DRAWN)
            .map(|second| (second as f64 + 0.5, passed(second)))
            .collect()
    }
}
