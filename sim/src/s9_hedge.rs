//! S9: one call in a hundred takes a hundred times as long, and a second attempt would not.
//!
//! # The model
//!
//! Three hundred calls a second to a target with many replicas. 99 % of the attempts take 5 ms and
//! 1 % take 500 ms, each by its own chance. After three and a half minutes all attempts take
//! 500 ms for half a minute: the target has too much to do, and each attempt more is one too many.

use steadfast::context::Tier;

use crate::calls::{Hedged, Hedging, Never, Unbudgeted};
use crate::chart::{Axis, Chart, Line};
use crate::events::Events;
use crate::load::{MS, SECOND, Service, Stream};
use crate::rng::Rng;
use crate::scenario::{Figure, Row, SEEDS, Scenario, Target};

const STORY: &str = "\
300 calls a second. 99 % of the attempts take 5 ms and 1 % take 500 ms, by chance; after three and a half minutes
all of them take 500 ms for half a minute. A call may have one second attempt beside its first, and up to 2 % of the
calls have one. The 5 ms are exact in one run and vary in another (lognormal, σ 0.1), as they do in life.";

const FIGURES: [Figure; 4] = [
    Figure {
        name: P999,
        decimals: 1,
        target: Target::AtMost(15.0),
    },
    Figure {
        name: "p99, ms",
        decimals: 1,
        target: Target::None,
    },
    Figure {
        name: MORE,
        decimals: 2,
        target: Target::AtMost(2.0),
    },
    Figure {
        name: MORE_SLOW,
        decimals: 2,
        target: Target::AtMost(2.0),
    },
];

/// The tail that is left.
pub const P999: &str = "p99.9, ms";

/// What it costs on usual days.
pub const MORE: &str = "more calls, %";

/// What it costs when everything is slow.
pub const MORE_SLOW: &str = "more while all are slow, %";

const RATE: f64 = 300.0;
const USUAL: u64 = 5 * MS;
const LATE: u64 = 500 * MS;
const LATE_SHARE: f64 = 0.01;
const BUDGET: f64 = 0.02;

// What happens, in seconds. The first half a minute is left out: who learns has to begin somehow.
const LEARNS: u64 = 30;
const SLOW: u64 = 210;
const END: u64 = 240;

/// How much the usual time varies.
const SPREADS: [Option<Service>; 2] = [None, Some(Service::Lognormal(0.1))];
const WIDE: [Option<Service>; 1] = [Some(Service::Lognormal(0.6))];

type Make = fn() -> Box<dyn Hedging>;

const CONTENDERS: [(&str, bool, &[Option<Service>], Make); 7] = [
    (OURS, true, &SPREADS, ours),
    ("ours, where 5 ms vary with σ 0.6", false, &WIDE, ours),
    (
        "the 95th percentile, budget of 2 %",
        false,
        &SPREADS,
        || Box::new(Unbudgeted::at_quantile(0.95).one_in(50)),
    ),
    ("the 95th percentile, no budget", false, &SPREADS, || {
        Box::new(Unbudgeted::at_quantile(0.95))
    }),
    ("10 ms, no budget", false, &SPREADS, || {
        Box::new(Unbudgeted::after(10 * MS))
    }),
    ("50 ms, no budget", false, &SPREADS, || {
        Box::new(Unbudgeted::after(50 * MS))
    }),
    ("none", false, &SPREADS, || Box::new(Never)),
];

const OURS: &str = "ours";

/// Who is drawn.
const DRAWN: [&str; 4] = [
    OURS,
    "the 95th percentile, no budget",
    "10 ms, no budget",
    "none",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    /// Shall there be a second attempt?
    Look(usize),
    Answer(usize),
    Second,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    began: u64,
    answers: u64,
    over: bool,
}

/// What a run showed.
#[derive(Default)]
struct Shown {
    /// How long calls took that began after who learns has learned, and before all were slow.
    took: Vec<u64>,
    /// Calls that began in each second, and second attempts of those.
    calls: Vec<(u64, u64)>,
}

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let mut lines = Vec::new();
    let rows = CONTENDERS.map(|(name, judged, spreads, make)| {
        let seeds = if judged { &SEEDS[..] } else { &SEEDS[..1] };
        let mut runs = Vec::new();
        let mut drawn = None;
        for &spread in spreads {
            for &seed in seeds {
                let run = run(spread, seed, &mut *make());
                drawn.get_or_insert_with(|| run.points());
                runs.push(run.figures());
            }
        }
        if DRAWN.contains(&name) {
            lines.push(Line {
                name: name.to_owned(),
                points: drawn.expect("at least one run"),
            });
        }
        Row::worst(name, judged, &FIGURES, &runs)
    });
    Scenario {
        id: "S9",
        title: "a second attempt for the slow few",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows: rows.to_vec(),
        charts: vec![chart(lines)],
        notes: NOTES.to_owned(),
    }
}

const NOTES: &str = "\
No hedge makes the tail shorter than its delay and a usual call, and no budget of 2 % pays for a delay below the 98th
percentile. So where the 5 ms themselves vary by σ 0.6, whose own p99.9 is 27 ms, 15 ms are out of reach of anybody
who keeps to the budget; what is reached stands in its row. The distributions of the other scenarios are left out for
that reason.";

fn ours() -> Box<dyn Hedging> {
    Box::new(Hedged::new(BUDGET))
}

fn run(spread: Option<Service>, seed: u64, hedging: &mut dyn Hedging) -> Shown {
    let mut seeds = Rng::new(seed);
    let (mut arrivals, mut attempts) = (Rng::new(seeds.u64()), Rng::new(seeds.u64()));
    let mut takes = |now: u64| {
        let late = attempts.unit() < LATE_SHARE || now >= SLOW * SECOND;
        let mean = if late { LATE } else { USUAL };
        spread.map_or(mean, |spread| spread.draw_around(mean, &mut attempts))
    };
    let stream = Stream::new(Tier::DEFAULT, vec![(0, RATE)]);
    let mut events = Events::new();
    let mut calls: Vec<Call> = Vec::new();
    let mut shown = Shown {
        took: Vec::new(),
        calls: vec![(0, 0); END as usize + 1],
    };
    let first = stream.next(0, &mut arrivals).expect("calls come");
    events.at(first, Event::Arrival);
    events.at(SECOND, Event::Second);

    while let Some((now, event)) = events.next(END * SECOND) {
        match event {
            Event::Arrival => {
                let next = stream.next(now, &mut arrivals).expect("calls come");
                events.at(next, Event::Arrival);
                let id = calls.len();
                let answers = now + takes(now);
                events.at(answers, Event::Answer(id));
                if let Some(delay) = hedging.plan() {
                    events.at(now + delay, Event::Look(id));
                }
                calls.push(Call {
                    began: now,
                    answers,
                    over: false,
                });
                shown.calls[(now / SECOND) as usize].0 += 1;
            }
            Event::Look(id) => {
                let call = &mut calls[id];
                if call.over || !hedging.send(now) {
                    continue;
                }
                shown.calls[(now / SECOND) as usize].1 += 1;
                let answers = now + takes(now);
                if answers < call.answers {
                    call.answers = answers;
                    events.at(answers, Event::Answer(id));
                }
            }
            Event::Answer(id) => {
                let call = &mut calls[id];
                if call.over {
                    continue;
                }
                call.over = true;
                let took = now - call.began;
                hedging.ended(took, now);
                if (LEARNS * SECOND..SLOW * SECOND).contains(&call.began) {
                    shown.took.push(took);
                }
            }
            Event::Second => {
                hedging.second();
                events.at(now + SECOND, Event::Second);
            }
        }
    }
    shown.took.sort_unstable();
    shown
}

fn chart(lines: Vec<Line>) -> Chart {
    Chart {
        file: "s9-attempts",
        title: "S9: what the target gets, before and while all are slow".to_owned(),
        x: Axis {
            label: "time, s",
            from: 180.0,
            to: END as f64,
            step: 10.0,
        },
        y: Axis {
            label: "attempts, 1/s",
            from: 0.0,
            to: 700.0,
            step: 100.0,
        },
        span: Some((SLOW as f64, END as f64, "all are slow")),
        lines,
    }
}

// === impl Shown ===

impl Shown {
    fn points(&self) -> Vec<(f64, f64)> {
        let seconds = self.calls.iter().enumerate().take(END as usize).skip(180);
        let points =
            seconds.map(|(second, &(calls, more))| (second as f64 + 0.5, (calls + more) as f64));
        points.collect()
    }

    fn figures(&self) -> Vec<f64> {
        let quantile = |share: f64| {
            let rank = (self.took.len() as f64 * share).ceil() as usize;
            self.took[rank - 1] as f64 / 1e6
        };
        vec![
            quantile(0.999),
            quantile(0.99),
            self.percent_more(LEARNS..SLOW),
            self.percent_more(SLOW..END),
        ]
    }

    fn percent_more(&self, seconds: std::ops::Range<u64>) -> f64 {
        let seconds = &self.calls[seconds.start as usize..seconds.end as usize];
        let all = seconds
            .iter()
            .fold((0, 0), |sum, second| (sum.0 + second.0, sum.1 + second.1));
        100.0 * all.1 as f64 / all.0 as f64
    }
}
