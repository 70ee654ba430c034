//! S6: a timeout that learns, while what it waits for becomes slow, stalls, and comes back.
//!
//! # The model
//!
//! A hundred calls a second, which take 50 ms on average. After ten minutes as usual they take
//! three times as long for two minutes, then eight times as long for two minutes, then the target
//! freezes for 20 s, and then three of ten calls do; between these everything is as usual for two
//! minutes.
//!
//! # How it is judged
//!
//! A call is cut falsely if it would have been answered and is not. The timeout follows when 99 % of
//! the calls fit into it, and is back when it is within a half of what it was before.

use std::ops::Range;

use steadfast::context::Tier;

use crate::calls::{FixedTimeout, Given, Learned, Percentile, Timeouts};
use crate::chart::{Axis, Chart, Line};
use crate::events::Events;
use crate::load::{MS, SECOND, Service, Steps, Stream, in_force};
use crate::rng::Rng;
use crate::scenario::{Figure, Row, Scenario, Target, runs};

const STORY: &str = "\
100 calls a second, 50 ms each on average. Ten minutes as usual; then everything takes three times as long for two
minutes, then eight times as long, then the target freezes for 20 s, and then three of ten calls hang for 20 s, with
two minutes as usual after each. A call is cut falsely when it would have been answered and was not. The timeout has
followed when 99 % of the slow calls fit into it, and is back when it is no more than half above its mean of the
healthy minutes. A stall, and one of a part, may double it and not more.";

const FIGURES: [Figure; 7] = [
    Figure {
        name: FALSE,
        decimals: 2,
        target: Target::AtMost(0.2),
    },
    Figure {
        name: FOLLOWS_3,
        decimals: 0,
        target: Target::AtMost(5.0),
    },
    Figure {
        name: FOLLOWS_8,
        decimals: 0,
        target: Target::AtMost(5.0),
    },
    Figure {
        name: BACK,
        decimals: 0,
        target: Target::AtMost(60.0),
    },
    Figure {
        name: STALLED,
        decimals: 1,
        target: Target::AtMost(2.0),
    },
    Figure {
        name: PART_STALLED,
        decimals: 1,
        target: Target::AtMost(2.0),
    },
    Figure {
        name: "cut falsely while 8 times slower, %",
        decimals: 1,
        target: Target::None,
    },
];

/// What part of the calls is cut falsely on a healthy day.
pub const FALSE: &str = "cut falsely as usual, %";

/// When the timeout has followed a target that is three times slower.
pub const FOLLOWS_3: &str = "follows 3 times after, s";

/// When the timeout has followed a target that is eight times slower.
pub const FOLLOWS_8: &str = "follows 8 times after, s";

/// When it is back.
pub const BACK: &str = "back after, s";

/// How long the timeout is at most in a stall and after it.
pub const STALLED: &str = "longest after a stall, times as usual";

/// How long the timeout is at most while a part of the calls hangs and after it.
pub const PART_STALLED: &str = "longest after a part stalls";

/// How many calls a second there are.
const RATE: f64 = 100.0;

/// How long they take on average.
const TAKES: u64 = 50 * MS;

/// The longest timeout that callers bear.
const CEILING: u64 = 30 * SECOND;

// What happens, in seconds. The first minute is left out: who learns has to begin somehow.
const USUAL: Range<u64> = 60..660;
const SLOW_3: Range<u64> = 660..780;
const SLOW_8: Range<u64> = 900..1_020;
const STALL: Range<u64> = 1_140..1_160;
const PART: Range<u64> = 1_280..1_300;
const END: u64 = 1_420;

/// The part of the calls that hang while a part of the target stalls.
const HANGS: f64 = 0.3;

/// For how long the timeout is looked at after a stall, in seconds.
const AFTER_STALL: u64 = 60;

/// Makes the timeout of calls whose 99th percentile on a healthy day is known.
type Make = fn(u64) -> Box<dyn Timeouts>;

/// Who, whether it is judged, how many calls a second.
const CONTENDERS: [(&str, bool, f64, Make); 8] = [
    (OURS, true, RATE, |p99| {
        Box::new(Learned::new(p99, CEILING, None))
    }),
    ("ours, at 10 calls a second", false, RATE / 10.0, |p99| {
        Box::new(Learned::new(p99, CEILING, None))
    }),
    ("percentile × 1, cut calls left out", false, RATE, |_| {
        Box::new(LeavesOut(Percentile::new(1.0, 0.0, CEILING)))
    }),
    ("percentile × 1, cut calls as cut", false, RATE, |_| {
        Box::new(Percentile::new(1.0, 1.0, CEILING))
    }),
    ("percentile × 2, cut calls as cut", false, RATE, |_| {
        Box::new(Percentile::new(2.0, 1.0, CEILING))
    }),
    ("percentile × 2, cut calls twice", false, RATE, |_| {
        Box::new(Percentile::new(2.0, 2.0, CEILING))
    }),
    ("fixed at twice the percentile", false, RATE, |p99| {
        Box::new(FixedTimeout(2 * p99))
    }),
    ("30 s", false, RATE, |_| Box::new(FixedTimeout(CEILING))),
];

const OURS: &str = "ours";

/// Who is drawn: as many as can be told apart.
const DRAWN: [&str; 4] = [
    OURS,
    "percentile × 1, cut calls as cut",
    "percentile × 2, cut calls as cut",
    "percentile × 2, cut calls twice",
];

/// Does not record what was cut.
struct LeavesOut(Percentile);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Ended(usize),
    Second,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    began: u64,
    given: Given,
    answered: bool,
}

/// What a run showed, by second.
#[derive(Default)]
struct Shown {
    /// Calls that began, and of those, falsely cut ones.
    calls: Vec<(u64, u64)>,
    /// The usual timeout from the end of the second on.
    usual_ns: Vec<u64>,
    p99_ns: u64,
}

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let mut lines = Vec::new();
    let rows = CONTENDERS.map(|(name, judged, rate, make)| {
        let mut drawn = None;
        let runs = runs(judged, |service, seed| {
            let run = run(service, seed, rate, &mut *make(service.p99_around(TAKES)));
            drawn.get_or_insert_with(|| run.points());
            run.figures()
        });
        if DRAWN.contains(&name) {
            lines.push(Line {
                name: name.to_owned(),
                points: drawn.expect("at least one run"),
            });
        }
        Row::worst(name, judged, &FIGURES, &runs)
    });
    Scenario {
        id: "S6",
        title: "a timeout that learns",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows: rows.to_vec(),
        charts: vec![chart(lines)],
        notes: NOTES.to_owned(),
    }
}

const NOTES: &str = "\
**The parameters with which this holds:** the defaults (factor 2, quantile 0.99), 100 calls a second or more, a floor
that is the 99th percentile of a healthy day, and a ceiling of 30 s, no cap of permits. With a tenth of the calls it
takes longer in seconds and not in calls, since it judges twenty of them at least: it is not yet back when the stall
comes. 30 s misses nothing here, because nothing here holds permits; what it does to others is S5.";

fn run(service: Service, seed: u64, rate: f64, timeouts: &mut dyn Timeouts) -> Shown {
    let mut seeds = Rng::new(seed);
    let (mut arrivals, mut services) = (Rng::new(seeds.u64()), Rng::new(seeds.u64()));
    // Nothing begins or ends with a second of the clock by which is learned.
    let mut within = |second: u64| second * SECOND + seeds.u64() % SECOND;
    let [slow_3, slow_8] = [SLOW_3, SLOW_8].map(|slow| within(slow.start)..within(slow.end));
    let [stall, part] = [STALL, PART].map(|stall| within(stall.start)..within(stall.end));
    let stream = Stream::new(Tier::DEFAULT, vec![(0, rate)]);
    let times: Steps = vec![
        (0, 1.0),
        (slow_3.start, 3.0),
        (slow_3.end, 1.0),
        (slow_8.start, 8.0),
        (slow_8.end, 1.0),
    ];
    let mut events = Events::new();
    let mut calls: Vec<Call> = Vec::new();
    let mut shown = Shown {
        calls: vec![(0, 0); END as usize + 1],
        usual_ns: Vec::new(),
        p99_ns: service.p99_around(TAKES),
    };
    let first = stream.next(0, &mut arrivals).expect("calls come");
    events.at(first, Event::Arrival);
    events.at(SECOND, Event::Second);

    while let Some((now, event)) = events.next(END * SECOND) {
        match event {
            Event::Arrival => {
                let next = stream.next(now, &mut arrivals).expect("calls come");
                events.at(next, Event::Arrival);
                let (slower, _) = in_force(&times, now);
                let would = service.draw_around(TAKES, &mut services) as f64 * slower;
                let (would, given) = (would as u64, timeouts.begin(now));
                let hangs = services.unit() < HANGS;
                let takes = match frozen(now, would, &part) {
                    hanging if hangs && hanging > would => hanging,
                    _ => frozen(now, would, &stall),
                };
                let count = &mut shown.calls[(now / SECOND) as usize];
                count.0 += 1;
                // Who hangs with the target is cut rightly.
                count.1 += u64::from(takes == would && would > given.ns);
                events.at(now + takes.min(given.ns), Event::Ended(calls.len()));
                calls.push(Call {
                    began: now,
                    given,
                    answered: takes <= given.ns,
                });
            }
            Event::Ended(call) => {
                let call = calls[call];
                timeouts.ended(call.given, now - call.began, call.answered, now);
            }
            Event::Second => {
                timeouts.second(now);
                shown.usual_ns.push(timeouts.usual_ns());
                events.at(now + SECOND, Event::Second);
            }
        }
    }
    shown
}

/// How long a call takes that would take so long: nothing moves in the stall.
fn frozen(began: u64, takes: u64, stall: &Range<u64>) -> u64 {
    let (from, to) = (stall.start, stall.end);
    if began + takes <= from || began >= to {
        takes
    } else {
        takes + (to - began.max(from))
    }
}

fn chart(lines: Vec<Line>) -> Chart {
    Chart {
        file: "s6-timeout",
        title: "S6: the timeout while the target is 8 times slower, exponential".to_owned(),
        x: Axis {
            label: "time, s",
            from: 890.0,
            to: 1_100.0,
            step: 30.0,
        },
        y: Axis {
            label: "timeout, s",
            from: 0.0,
            to: 5.0,
            step: 1.0,
        },
        span: Some((SLOW_8.start as f64, SLOW_8.end as f64, "8 times slower")),
        lines,
    }
}

// === impl Shown ===

impl Shown {
    fn points(&self) -> Vec<(f64, f64)> {
        let from = SLOW_8.start as usize - 11;
        let timeouts = self.usual_ns.iter().enumerate().skip(from);
        let points = timeouts.map(|(second, &ns)| ((second + 1) as f64, ns as f64 / 1e9));
        points.collect()
    }

    fn figures(&self) -> Vec<f64> {
        let usual = self.of(USUAL);
        let mean = usual.iter().sum::<u64>() as f64 / usual.len() as f64;
        let longest = |stall: Range<u64>| {
            let timeouts = self.of(stall.start..stall.end + AFTER_STALL);
            *timeouts.iter().max().expect("seconds") as f64 / mean
        };
        vec![
            self.percent_cut(USUAL),
            self.follows(SLOW_3, 3),
            self.follows(SLOW_8, 8),
            f64::max(self.back(SLOW_3, mean), self.back(SLOW_8, mean)),
            longest(STALL),
            longest(PART),
            self.percent_cut(SLOW_8),
        ]
    }

    /// The timeouts in force during some seconds: those that were set at the end of the one before.
    fn of(&self, seconds: Range<u64>) -> &[u64] {
        &self.usual_ns[seconds.start as usize - 1..seconds.end as usize - 1]
    }

    fn percent_cut(&self, seconds: Range<u64>) -> f64 {
        let seconds = &self.calls[seconds.start as usize..seconds.end as usize];
        let all = seconds
            .iter()
            .fold((0, 0), |sum, second| (sum.0 + second.0, sum.1 + second.1));
        100.0 * all.1 as f64 / all.0 as f64
    }

    /// How many seconds it takes until 99 % of the calls fit into the timeout for good.
    fn follows(&self, slow: Range<u64>, times: u64) -> f64 {
        let fits = |&ns: &u64| ns >= times * self.p99_ns;
        last_not(self.of(slow), fits)
    }

    /// How many seconds after it was slow the timeout is about what it was before.
    fn back(&self, slow: Range<u64>, mean: f64) -> f64 {
        let near = |&ns: &u64| ns as f64 <= 1.5 * mean;
        last_not(self.of(slow.end..slow.end + 120), near)
    }
}

/// Returns how many seconds there are up to the last one in which it is not so; infinite if that is
/// the last of all.
fn last_not(seconds: &[u64], is_so: impl Fn(&u64) -> bool) -> f64 {
    match seconds.iter().rposition(|second| !is_so(second)) {
        None => 0.0,
        Some(last) if last + 1 == seconds.len() => f64::INFINITY,
        Some(last) => (last + 1) as f64,
    }
}

// === impl LeavesOut ===

impl Timeouts for LeavesOut {
    fn begin(&mut self, now: u64) -> Given {
        self.0.begin(now)
    }

    fn ended(&mut self, given: Given, after_ns: u64, answered: bool, now: u64) {
        if answered {
            self.0.ended(given, after_ns, answered, now);
        }
    }

    fn second(&mut self, now: u64) {
        self.0.second(now);
    }

    fn usual_ns(&self) -> u64 {
        self.0.usual_ns()
    }
}
