//! Many writers on the same rows, simulated: their locks, the cores of the server, and looks ten times a second.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::{BatchSize, InFlight, Lag, Pressure, SizeConfig, Wrote};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const LOOK_EVERY: u64 = 100 * MS;

/// A database, and who writes to it.
#[derive(Clone, Copy)]
struct Model {
    writers: usize,
    hot_rows: usize,
    /// Each writer has its part of the rows.
    are_apart: bool,
    cores: usize,
    /// What a transaction costs, and each row of it while it is alone.
    commit_ns: u64,
    row_ns: u64,
    /// Others, who each change one of the rows so often.
    others_every_ns: Option<u64>,
}

const QUICK_DISK: Model = Model {
    writers: 8,
    hot_rows: 2_000,
    are_apart: false,
    cores: 2,
    commit_ns: 400 * US,
    row_ns: 10 * US,
    others_every_ns: None,
};

/// What of the best fixed size is reached, whatever that makes wait: by writers that do not know of each other, and by
/// those that take turns. It is less where ten rows are best, because several transactions of them fit side by side, which
/// nobody sees from within one writer.
const MODELS: [(&str, Model, f64, f64); 5] = [
    ("a quick disk", QUICK_DISK, 0.8, 0.9),
    (
        "a slow disk",
        Model {
            commit_ns: 15 * MS,
            row_ns: 20 * US,
            ..QUICK_DISK
        },
        0.8,
        0.9,
    ),
    (
        "few hot rows",
        Model {
            hot_rows: 200,
            ..QUICK_DISK
        },
        0.8,
        0.95,
    ),
    (
        "slow rows",
        Model {
            commit_ns: 2 * MS,
            row_ns: 200 * US,
            ..QUICK_DISK
        },
        0.5,
        0.55,
    ),
    (
        "thirty-two writers",
        Model {
            writers: 32,
            ..QUICK_DISK
        },
        0.5,
        0.65,
    ),
];

enum Sizes {
    Fixed(u32),
    Found(Box<BatchSize>),
}

/// A transaction on its way.
struct Batch {
    arrived: u64,
    began: u64,
    keys: Vec<u64>,
    rows: u32,
    runs: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Begin(usize),
    Done(usize),
    Look,
}

struct Simulation {
    model: Model,
    sizes: Vec<Sizes>,
    /// Absent where writers do not know of each other.
    turns: Option<InFlight>,
    /// Who waits for a permit.
    line: VecDeque<usize>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    in_flight: Vec<Option<Batch>>,
    count: u64,
    random: u64,
}

/// What was seen, once half of the time was over.
#[derive(Default)]
struct Seen {
    rows_per_second: f64,
    waiters_mean: f64,
    /// How long a batch took, from its start.
    time_mean: Duration,
    rows: Vec<f64>,
}

impl Simulation {
    fn new(model: Model, size: impl Fn() -> Sizes, know_of_each_other: bool) -> Self {
        let others = model.others_every_ns.map_or(0, |_| 8);
        let mut simulation = Self {
            model,
            sizes: (0..model.writers).map(|_| size()).collect(),
            turns: know_of_each_other.then(|| {
                let mut turns = InFlight::default();
                for _ in 0..model.writers {
                    turns.joined(SizeConfig::default().waiters_max);
                }
                turns
            }),
            line: VecDeque::new(),
            events: BinaryHeap::new(),
            in_flight: (0..model.writers + others).map(|_| None).collect(),
            count: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        };
        simulation.at(LOOK_EVERY, Event::Look);
        for writer in 0..model.writers + others {
            simulation.at(0, Event::Begin(writer));
        }
        simulation
    }

    fn at(&mut self, time: u64, event: Event) {
        self.count += 1;
        self.events.push(Reverse((time, self.count, event)));
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn run(mut self, until: u64) -> Seen {
        let (mut rows, mut looks, mut waiters) = (0_u64, 0_u64, 0_u64);
        let (mut batches, mut took) = (0_u32, 0_u64);
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            if now >= until {
                break;
            }
            match event {
                Event::Begin(writer) => self.begin(writer, now),
                Event::Done(writer) => {
                    let (done, took_ns) = self.done(writer, now);
                    if now > until / 2 && writer < self.model.writers {
                        rows += done;
                        took += took_ns;
                        batches += 1;
                    }
                }
                Event::Look => {
                    let waits =
                        |batch: &&Option<Batch>| batch.as_ref().is_some_and(|batch| !batch.runs);
                    let waiting = self.in_flight.iter().filter(waits).count();
                    if now > until / 2 {
                        looks += 1;
                        waiters += waiting as u64;
                    }
                    let turns = self.turns.as_mut().map(|turns| {
                        turns.looked(Some(waiting as u32), now);
                        turns.turns(now)
                    });
                    for sizes in &mut self.sizes {
                        if let Sizes::Found(size) = sizes {
                            size.takes_turns(turns.unwrap_or_default());
                            let pressure = Pressure {
                                lock_waiters: Some(waiting as u32),
                                lag: Lag::Unknown,
                            };
                            size.looked(pressure, now);
                        }
                    }
                    self.go_on(now);
                    self.at(now + LOOK_EVERY, Event::Look);
                }
            }
        }
        let rows_of = |sizes: &Sizes| match sizes {
            Sizes::Fixed(rows) => f64::from(*rows),
            Sizes::Found(size) => f64::from(size.rows()),
        };
        Seen {
            rows_per_second: rows as f64 / ((until / 2) as f64 / 1e9),
            waiters_mean: waiters as f64 / looks.max(1) as f64,
            time_mean: Duration::from_nanos(took / u64::from(batches.max(1))),
            rows: self.sizes.iter().map(rows_of).collect(),
        }
    }

    fn begin(&mut self, writer: usize, now: u64) {
        if let Some(Sizes::Found(size)) = self.sizes.get_mut(writer) {
            let step = size.step(now);
            if step.not_before > now {
                return self.at(step.not_before, Event::Begin(writer));
            }
        }
        if self.turns.is_some() && writer < self.model.writers {
            self.line.push_back(writer);
            return self.go_on(now);
        }
        self.send(writer, now);
    }

    /// Lets those write whose turn it is.
    fn go_on(&mut self, now: u64) {
        while let Some(turns) = &mut self.turns
            && turns.in_flight() < turns.permits(now)
            && let Some(writer) = self.line.pop_front()
        {
            turns.started();
            self.send(writer, now);
        }
    }

    fn send(&mut self, writer: usize, now: u64) {
        let rows = match self.sizes.get_mut(writer) {
            None => 1,
            Some(Sizes::Fixed(rows)) => *rows,
            Some(Sizes::Found(size)) => size.step(now).rows,
        };
        let mut keys = vec![0_u64; self.model.hot_rows.div_ceil(64)];
        let (first, count) = match self.model.are_apart {
            true => {
                let part = self.model.hot_rows / self.model.writers;
                (writer * part, part)
            }
            false => (0, self.model.hot_rows),
        };
        for _ in 0..rows {
            let key = first + (self.random() % count as u64) as usize;
            keys[key / 64] |= 1 << (key % 64);
        }
        self.count += 1;
        self.in_flight[writer] = Some(Batch {
            arrived: self.count,
            began: now,
            keys,
            rows,
            runs: false,
        });
        self.start(writer, now);
    }

    /// Lets it run if nobody who came before has one of its rows.
    fn start(&mut self, writer: usize, now: u64) {
        let Some(batch) = &self.in_flight[writer] else {
            return;
        };
        let meets = |other: &Batch| {
            other.arrived < batch.arrived
                && other
                    .keys
                    .iter()
                    .zip(&batch.keys)
                    .any(|(one, two)| one & two != 0)
        };
        if batch.runs || self.in_flight.iter().flatten().any(meets) {
            return;
        }
        let runs = self
            .in_flight
            .iter()
            .flatten()
            .filter(|batch| batch.runs)
            .count() as u64
            + 1;
        let cores = self.model.cores as u64;
        let work = u64::from(batch.rows) * self.model.row_ns * runs.max(cores) / cores;
        if let Some(batch) = &mut self.in_flight[writer] {
            batch.runs = true;
        }
        self.at(now + self.model.commit_ns + work, Event::Done(writer));
    }

    /// Gives how many rows were written, and how long that took.
    fn done(&mut self, writer: usize, now: u64) -> (u64, u64) {
        let Some(batch) = self.in_flight[writer].take() else {
            return (0, 0);
        };
        let mut next = now;
        let took_ns = now - batch.began;
        match self.sizes.get_mut(writer) {
            None => next += self.model.others_every_ns.unwrap_or(0),
            Some(Sizes::Fixed(_)) => {}
            Some(Sizes::Found(size)) => {
                if let Some(turns) = &mut self.turns {
                    turns.ended();
                    let target = SizeConfig::default().target;
                    turns.wrote(Duration::from_nanos(took_ns), target);
                }
                size.wrote(
                    Wrote {
                        rows: batch.rows,
                        took_ns,
                    },
                    now,
                );
            }
        }
        for other in 0..self.in_flight.len() {
            self.start(other, now);
        }
        self.go_on(now);
        self.at(next, Event::Begin(writer));
        (u64::from(batch.rows), took_ns)
    }
}

fn fixed(model: Model, rows: u32) -> Seen {
    Simulation::new(model, || Sizes::Fixed(rows), false).run(4_000 * MS)
}

fn found_size() -> Sizes {
    Sizes::Found(Box::new(BatchSize::new(SizeConfig::default()).unwrap()))
}

fn found(model: Model, know_of_each_other: bool) -> Seen {
    Simulation::new(model, found_size, know_of_each_other).run(40_000 * MS)
}

#[test]
fn writers_on_the_same_rows_write_nearly_as_much_as_the_best_size_with_few_waiting() {
    let SizeConfig {
        waiters_max,
        target,
        ..
    } = SizeConfig::default();
    // One look in fifty tries whether one more may write.
    let limit = f64::from(waiters_max) + 0.05;
    for (name, model, alone, together) in MODELS {
        let fixed = [1, 10, 50, 100, 200].map(|rows| fixed(model, rows));
        let best = fixed
            .iter()
            .map(|seen| seen.rows_per_second)
            .fold(0.0, f64::max);
        for (know_of_each_other, floor) in [(false, alone), (true, together)] {
            let ours = found(model, know_of_each_other);

            let share = ours.rows_per_second / best;
            assert!(
                share >= floor && ours.waiters_mean <= limit,
                "{name}, {know_of_each_other}: {share:.2} of {best:.0} rows/s, with {:.2} waiting, by {:?} rows",
                ours.waiters_mean,
                ours.rows,
            );
            assert!(
                !know_of_each_other || ours.time_mean <= target,
                "{name}: {:?} a batch",
                ours.time_mean
            );
        }
        // Without rests and turns they would wait for each other all the time.
        let most = model.writers as f64 - 1.5;
        assert!(fixed[4].waiters_mean > most, "{name}");
    }
}

/// A chance of ten looks a second, so it is seen for long.
#[test]
fn a_lone_writer_lets_others_through() {
    let limit = f64::from(SizeConfig::default().waiters_max);
    let model = Model {
        writers: 1,
        hot_rows: 200,
        commit_ns: MS,
        row_ns: 150 * US,
        others_every_ns: Some(2 * MS),
        ..QUICK_DISK
    };
    let runs = [1, 2, 3, 4, 5, 6, 7, 8].map(|seed| {
        let mut simulation = Simulation::new(model, found_size, false);
        simulation.random = seed;
        simulation.run(60_000 * MS)
    });
    let mean = |of: fn(&Seen) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    let (waiters, rate) = (
        mean(|seen| seen.waiters_mean),
        mean(|seen| seen.rows_per_second),
    );

    let fixed = fixed(model, 200);

    assert!(fixed.waiters_mean > 2.0 * limit, "{}", fixed.waiters_mean);
    assert!(waiters <= 1.1 * limit, "{waiters}");
    assert!(
        // Four thousand times a second somebody wants one of two hundred rows.
        rate >= 0.15 * fixed.rows_per_second,
        "{rate} of {} rows/s",
        fixed.rows_per_second
    );
}

/// Commits to another region, and how much of the best fixed size is reached there by writers that take turns.
const FAR: Model = Model {
    commit_ns: 80 * MS,
    ..QUICK_DISK
};
const FAR_MODELS: [(&str, Model, f64); 4] = [
    (
        "rows of their own",
        Model {
            are_apart: true,
            ..FAR
        },
        0.9,
    ),
    ("hot rows", FAR, 0.9),
    (
        "few hot rows",
        Model {
            hot_rows: 200,
            ..FAR
        },
        0.9,
    ),
    (
        "three targets",
        Model {
            commit_ns: 150 * MS,
            ..FAR
        },
        0.8,
    ),
];

#[test]
fn writers_whose_commits_take_longer_than_the_target_write_nearly_as_much_as_the_best_size() {
    for (name, model, floor) in FAR_MODELS {
        let best = [1, 10, 50, 100, 200]
            .map(|rows| fixed(model, rows).rows_per_second)
            .into_iter()
            .fold(0.0, f64::max);
        let ours = Simulation::new(model, found_size, true).run(120_000 * MS);

        let share = ours.rows_per_second / best;
        assert!(
            share >= floor,
            "{name}: {share:.2} of {best:.0} rows/s by {:?} rows",
            ours.rows
        );
        // Where they are on the same rows they wait for each other seldom, instead of seven at a time.
        assert!(
            ours.waiters_mean <= 0.5,
            "{name}: {:.2} waiting",
            ours.waiters_mean
        );
        let most = Duration::from_nanos(model.commit_ns * 5 / 4);
        assert!(
            ours.time_mean <= most,
            "{name}: {:?} a batch",
            ours.time_mean
        );
    }
}

/// As many wait as may, so nobody is too many; and a trial of fewer rows waits as long as the batches before it.
#[test]
fn what_writers_wait_for_is_not_taken_for_a_slow_commit() {
    for writers in [2, 3] {
        let model = Model {
            writers,
            hot_rows: 1,
            commit_ns: MS,
            row_ns: MS,
            ..QUICK_DISK
        };

        let seen = found(model, false);

        let took = seen.time_mean;
        assert!(took <= Duration::from_millis(75), "{writers}: {took:?}");
        let few = seen.rows.iter().all(|rows| *rows <= 40.0);
        assert!(few, "{writers}: {:?}", seen.rows);
    }
}
