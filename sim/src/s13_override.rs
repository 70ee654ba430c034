//! S13: an operator overrules a breaker, and the word ends by itself.
//!
//! # The model
//!
//! A hundred calls a second. From second 30 to 40 somebody holds the breaker open, for work on the
//! target. From second 100 three in ten calls fail for a minute, which this service can bear: the
//! breaker is held closed for that minute. At second 400 the target goes down, and nobody has thought
//! of the breaker since.

use std::time::Duration;

use steadfast::context::Tier;
use steadfast::decide::breaker::{Breaker, CallEnd, Override};

use crate::load::{MS, SECOND, Service, Stream};
use crate::rng::Rng;
use crate::s7_trip;
use crate::scenario::{Figure, Row, Scenario, Target, runs};

const STORY: &str = "\
100 calls a second. From second 30 on a breaker is held open for ten seconds, for work on the target. From second 100
on 30 % of the calls fail for a minute, which this service can bear: the breaker, with the numbers of S7, is held
closed for a minute. At second 400 the target goes down, and nobody has thought of the breaker since.";

const FIGURES: [Figure; 4] = [
    Figure {
        name: "passed while held open, %",
        decimals: 1,
        target: Target::AtMost(0.0),
    },
    Figure {
        name: "passed while held closed, %",
        decimals: 1,
        target: Target::AtLeast(100.0),
    },
    Figure {
        name: "passed after both are over, %",
        decimals: 1,
        target: Target::AtLeast(100.0),
    },
    Figure {
        name: FAILURES,
        decimals: 0,
        target: Target::AtMost(20.0),
    },
];

/// What the forgotten word costs.
pub const FAILURES: &str = "failures of the outage until it trips";

const RATE: f64 = 100.0;
const HELD_OPEN: std::ops::Range<u64> = 30..40;
const HELD_CLOSED: std::ops::Range<u64> = 100..160;
const OUTAGE: std::ops::Range<u64> = 400..460;

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let minute = Duration::from_secs(HELD_CLOSED.end - HELD_CLOSED.start);
    let contenders = [
        ("ours", true, Some(minute)),
        (
            "until somebody takes it back",
            false,
            Some(Breaker::LONGEST_OVERRIDE),
        ),
        ("no word of an operator", false, None),
    ];
    let rows = contenders.map(|(name, judged, holds)| {
        let runs = runs(judged, |service, seed| run(service, seed, holds));
        Row::worst(name, judged, &FIGURES, &runs)
    });
    Scenario {
        id: "S13",
        title: "the word of an operator ends",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows: rows.to_vec(),
        charts: Vec::new(),
        notes: NOTES.to_owned(),
    }
}

const NOTES: &str = "\
An override has to say for how long it holds, 24 hours at most. So the second row, which takes those, is as long as
ours can be made to forget.";

/// A stretch of time: calls that came, and those that passed.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch(u64, u64);

fn run(service: Service, seed: u64, holds: Option<Duration>) -> Vec<f64> {
    let mut rng = Rng::new(seed);
    let breaker = Breaker::new(s7_trip::config(), seed).expect("a reason to trip");
    let stream = Stream::new(Tier::DEFAULT, vec![(0, RATE)]);
    let [mut open, mut closed, mut after] = [Stretch::default(); 3];
    let (mut failures, mut tripped) = (0, false);
    let work = Duration::from_secs(HELD_OPEN.end - HELD_OPEN.start);
    let words = holds.map(|holds| {
        [
            (HELD_OPEN.start, Override::Open, work),
            (HELD_CLOSED.start, Override::Closed, holds),
        ]
    });
    let mut words = words.into_iter().flatten().peekable();
    let mut now = 0;
    while let Some(next) = stream
        .next(now, &mut rng)
        .filter(|next| *next < OUTAGE.end * SECOND)
    {
        now = next;
        let second = now / SECOND;
        if let Some((at, over, lasts)) = words.next_if(|(at, ..)| *at * SECOND <= now) {
            let passed = Duration::from_nanos(now - at * SECOND);
            let left = lasts - passed;
            breaker.force(over, left, now).expect("within the bound");
        }

        let share = match second {
            _ if HELD_CLOSED.contains(&second) => 0.3,
            _ if OUTAGE.contains(&second) => 1.0,
            _ => 0.0,
        };
        let failed = rng.unit() < share;
        let took = Duration::from_nanos(service.draw(&mut rng).min(100 * MS));
        let answer = breaker.ask(now);
        let passed = u64::from(answer.is_passed());
        let stretch = match second {
            _ if HELD_OPEN.contains(&second) => Some(&mut open),
            _ if HELD_CLOSED.contains(&second) => Some(&mut closed),
            _ if HELD_CLOSED.end < second && second < OUTAGE.start => Some(&mut after),
            _ => None,
        };
        if let Some(stretch) = stretch {
            stretch.0 += 1;
            stretch.1 += passed;
        }
        let Ok(permit) = answer.verdict else {
            tripped |= OUTAGE.contains(&second);
            continue;
        };
        if OUTAGE.contains(&second) && !tripped {
            failures += 1;
        }
        let end = if failed {
            CallEnd::failed(took)
        } else {
            CallEnd::succeeded(took)
        };
        let _ = breaker.record(permit, end, now);
    }
    let percent = |Stretch(came, passed)| 100.0 * passed as f64 / came as f64;
    let failures = if tripped {
        f64::from(failures)
    } else {
        f64::INFINITY
    };
    vec![percent(open), percent(closed), percent(after), failures]
}
