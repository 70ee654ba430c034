//! S5: one dependency stalls, and what has nothing to do with it goes on.
//!
//! # The model
//!
//! Requests share 200 permits and hold one until their call is over; who finds none is rejected.
//! Half of them call B, half call C. Both usually answer after 40 ms. For thirty seconds B freezes:
//! whatever is under way or begins goes on when it is over. C never fails anybody.
//!
//! # Who competes
//!
//! The timeout of B. C has one of 400 ms in all rows, which is as long as the linter allows.

use std::fmt::Write as _;
use std::time::Duration;

use steadfast::context::Tier;
use steadfast::decide::admission::{Gate, Leave};
use steadfast::decide::policy::{
    AdmissionPolicy, Count, Finding, Policy, Rate, Route, Setting, Share, Timeout, TimeoutPolicy,
    lint,
};
use steadfast::decide::timeout::TimeoutConfig;

use crate::calls::{FixedTimeout, Given, Learned, Percentile, Timeouts};
use crate::chart::{Axis, Chart, Line};
use crate::events::Events;
use crate::load::{MS, SECOND, Service, Stream};
use crate::rng::Rng;
use crate::scenario::{Figure, Row, Scenario, Target, runs};

const STORY: &str = "\
A service of 200 permits; 500 requests a second call B, 500 call C, and both take 40 ms. After a minute B freezes
for 30 s. A request holds its permit until its call is answered or cut; who finds no permit is rejected. What
differs is the timeout of B alone; that of C is 400 ms. Percentages are of what came during the stall; the
timeout is the longest that B's calls were given in it.";

const FIGURES: [Figure; 3] = [
    Figure {
        name: SERVED,
        decimals: 1,
        target: Target::AtLeast(99.0),
    },
    Figure {
        name: "timeout of B, ms",
        decimals: 0,
        target: Target::None,
    },
    Figure {
        name: "cut while B is healthy, %",
        decimals: 2,
        target: Target::None,
    },
];

/// What part of the requests to C is answered.
pub const SERVED: &str = "C answered in the stall, %";

/// How many permits there are.
const PERMITS: u32 = 200;

/// How many requests a second call each of the two.
const RATE: f64 = 500.0;

/// How long both take on average.
const TAKES: u64 = 40 * MS;

/// The timeout of C.
const C_GIVEN: u64 = 400 * MS;

/// The part of the permits that calls to B may hold: C needs a tenth, and gets a quarter.
const SHARE: f64 = 0.75;

/// The longest timeout that callers bear.
const CEILING: u64 = 30 * SECOND;

const STALL: std::ops::Range<u64> = 60..90;
const END: u64 = 120;

/// Makes the timeout of B, whose 99th percentile on a healthy day is known.
type Make = fn(u64) -> Box<dyn Timeouts>;

const CONTENDERS: [(&str, bool, Make); 8] = [
    (OURS, true, |p99| Box::new(learned(p99, Some(PERMITS)))),
    ("ours, without its cap of permits", false, |p99| {
        Box::new(learned(p99, None))
    }),
    (
        "percentile × 2, which learns from the stall",
        false,
        |_| Box::new(Percentile::new(2.0, 1.0, CEILING)),
    ),
    ("400 ms", false, |_| Box::new(FixedTimeout(400 * MS))),
    ("800 ms", false, |_| Box::new(FixedTimeout(800 * MS))),
    ("1 s", false, |_| Box::new(FixedTimeout(SECOND))),
    ("5 s", false, |_| Box::new(FixedTimeout(5 * SECOND))),
    ("30 s", false, |_| Box::new(FixedTimeout(30 * SECOND))),
];

const OURS: &str = "ours";

/// Who is drawn: as many as can be told apart.
const DRAWN: [&str; 5] = [
    OURS,
    "percentile × 2, which learns from the stall",
    "400 ms",
    "1 s",
    "30 s",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum To {
    B,
    C,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival(To),
    Ended(usize),
    Second,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    began: u64,
    /// None for C.
    given: Option<Given>,
    answered: bool,
}

/// What a run showed.
struct Shown {
    /// Requests to C that came in each second, and of those, answered ones.
    c: Vec<(u64, u64)>,
    /// Calls to B that ended before the stall, and of those, cut ones.
    healthy: (u64, u64),
    longest_ns: u64,
}

/// Runs everybody.
#[must_use]
pub fn scenario() -> Scenario {
    let mut lines = Vec::new();
    let rows = CONTENDERS.map(|(name, judged, make)| {
        let mut drawn = None;
        let runs = runs(judged, |service, seed| {
            let run = run(service, seed, &mut *make(service.p99_around(TAKES)));
            drawn.get_or_insert_with(|| run.goodput());
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
        id: "S5",
        title: "a dependency that stalls",
        story: STORY,
        figures: FIGURES.to_vec(),
        rows: rows.to_vec(),
        charts: vec![chart(lines)],
        notes: notes(),
    }
}

fn run(service: Service, seed: u64, timeouts: &mut dyn Timeouts) -> Shown {
    let gate = Gate::new(PERMITS);
    let mut seeds = Rng::new(seed);
    let mut arrivals = [Rng::new(seeds.u64()), Rng::new(seeds.u64())];
    let mut services = [Rng::new(seeds.u64()), Rng::new(seeds.u64())];
    let stream = Stream::new(Tier::DEFAULT, vec![(0, RATE), (END * SECOND, 0.0)]);
    let mut events = Events::new();
    let mut calls: Vec<Call> = Vec::new();
    let mut shown = Shown {
        c: vec![(0, 0); END as usize],
        healthy: (0, 0),
        longest_ns: 0,
    };
    for to in [To::B, To::C] {
        let first = stream.next(0, &mut arrivals[to as usize]);
        events.at(first.expect("requests come"), Event::Arrival(to));
    }
    events.at(SECOND, Event::Second);

    while let Some((now, event)) = events.next(END * SECOND) {
        match event {
            Event::Arrival(to) => {
                if let Some(next) = stream.next(now, &mut arrivals[to as usize]) {
                    events.at(next, Event::Arrival(to));
                }
                // Drawn for who is rejected, too, so that all who compete see the same.
                let takes = service.draw_around(TAKES, &mut services[to as usize]);
                if to == To::C {
                    shown.c[second(now)].0 += 1;
                }
                if !gate.try_enter(Tier::DEFAULT) {
                    continue;
                }
                let (given, takes) = match to {
                    To::B => (Some(timeouts.begin(now)), frozen(now, takes)),
                    To::C => (None, takes),
                };
                let given_ns = given.map_or(C_GIVEN, |given| given.ns);
                if is_in_stall(now) && to == To::B {
                    shown.longest_ns = shown.longest_ns.max(timeouts.usual_ns());
                }
                events.at(now + takes.min(given_ns), Event::Ended(calls.len()));
                calls.push(Call {
                    began: now,
                    given,
                    answered: takes <= given_ns,
                });
            }
            Event::Ended(call) => {
                let call = calls[call];
                assert_eq!(gate.leave(Tier::DEFAULT), Leave::Returned);
                match call.given {
                    Some(given) => {
                        timeouts.ended(given, now - call.began, call.answered, now);
                        if now < STALL.start * SECOND {
                            shown.healthy.0 += 1;
                            shown.healthy.1 += u64::from(!call.answered);
                        }
                    }
                    None => shown.c[second(call.began)].1 += u64::from(call.answered),
                }
            }
            Event::Second => {
                timeouts.second(now);
                events.at(now + SECOND, Event::Second);
            }
        }
    }
    shown
}

/// Learns from the 99th percentile of a healthy day up to the ceiling.
fn learned(p99_ns: u64, permits: Option<u32>) -> Learned {
    let nanos = Duration::from_nanos;
    let config = TimeoutConfig::new(nanos(p99_ns), nanos(CEILING))
        .and_then(|config| config.with_permit_share(SHARE));
    Learned::with_config(config.expect("within the bounds"), permits)
}

fn second(now: u64) -> usize {
    ((now / SECOND) as usize).min(END as usize - 1)
}

fn is_in_stall(now: u64) -> bool {
    (STALL.start * SECOND..STALL.end * SECOND).contains(&now)
}

/// How long a call to B takes that would take so long: nothing moves in the stall.
fn frozen(began: u64, takes: u64) -> u64 {
    let (from, to) = (STALL.start * SECOND, STALL.end * SECOND);
    if began + takes <= from || began >= to {
        takes
    } else {
        takes + (to - began.max(from))
    }
}

/// What the linter says before the start about each timeout.
fn notes() -> String {
    let mut notes = String::from(NOTES);
    let mut say = |name: &str, of| {
        let found = findings(of);
        let said = found.first().map_or("nothing", String::as_str);
        let _ = write!(notes, "\n- {name}: {said}");
    };
    for (name, ms) in [
        ("30 s", 30_000),
        ("5 s", 5_000),
        ("1 s", 1_000),
        ("800 ms", 800),
        ("400 ms", 400),
    ] {
        say(name, Setting::Fixed(timeout(ms)));
    }
    let floor = Service::Lognormal(1.0).p99_around(TAKES) / MS;
    let learned = Setting::Learn {
        floor: timeout(floor),
        ceiling: timeout(CEILING / MS),
    };
    say("learned", learned);
    notes
}

const NOTES: &str = "\
Ours follows twice the 99th percentile of B, from that of a healthy day on, and no more than what keeps three
quarters of the permits in a stall. It is that cap that acts here, from before the stall on: with wide times it
costs a few cut calls on healthy days, as the table says. 400 ms is the longest that the linter lets pass: all permits
are held then, and C lives on those that are just free.

What the linter says about each before the start, at 500 requests a second and 200 permits:
";

/// Returns what the linter finds about the permits that a stall would hold.
#[must_use]
pub fn findings(of: Setting<Timeout>) -> Vec<String> {
    let mut policy = Policy::default();
    let permits = Setting::Fixed(Count::new(PERMITS).expect("in range"));
    let admission = AdmissionPolicy::new(permits, timeout(10));
    policy.admissions.insert("http".to_owned(), admission);
    let mut b = TimeoutPolicy::new(of);
    b.permit_share = Share::new(SHARE).expect("in range");
    policy.timeouts.insert("b".to_owned(), b);
    let mut route = Route::new(["GET"]);
    route.rate = Some(Rate::per_second(RATE).expect("in range"));
    route.timeout = Some("b".to_owned());
    route.admission = Some("http".to_owned());
    policy.routes.insert("/b".to_owned(), route);
    let held = |finding: &&Finding| ["P001", "P019"].contains(&finding.rule);
    let findings = lint(&policy);
    let found = findings.iter().filter(held).map(ToString::to_string);
    found.collect()
}

fn timeout(ms: u64) -> Timeout {
    Timeout::new(Duration::from_millis(ms)).expect("in range")
}

fn chart(lines: Vec<Line>) -> Chart {
    Chart {
        file: "s5-healthy",
        title: "S5: what is answered by C while B stalls, exponential times".to_owned(),
        x: Axis {
            label: "time, s",
            from: 50.0,
            to: END as f64,
            step: 10.0,
        },
        y: Axis {
            label: "answers of C, 1/s",
            from: 0.0,
            to: 600.0,
            step: 100.0,
        },
        span: Some((STALL.start as f64, STALL.end as f64, "B stalls")),
        lines,
    }
}

// === impl Shown ===

impl Shown {
    fn goodput(&self) -> Vec<(f64, f64)> {
        let seconds = self.c.iter().enumerate();
        seconds
            .map(|(second, &(_, answered))| (second as f64 + 0.5, answered as f64))
            .collect()
    }

    fn figures(&self) -> Vec<f64> {
        let stalled = &self.c[STALL.start as usize..STALL.end as usize];
        let percent = |(came, answered): (u64, u64)| 100.0 * answered as f64 / came as f64;
        let all = stalled
            .iter()
            .fold((0, 0), |sum, second| (sum.0 + second.0, sum.1 + second.1));
        vec![
            percent(all),
            self.longest_ns as f64 / 1e6,
            percent(self.healthy),
        ]
    }
}
