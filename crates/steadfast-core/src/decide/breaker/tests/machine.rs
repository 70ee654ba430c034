//! All that a few events can lead to: it is never inert, never stuck, and never generous.

use std::collections::{HashMap, VecDeque};

use super::*;

/// What may happen; permits are ended in the order in which they were taken.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ask,
    Good,
    Bad,
    Abandon,
    Lose,
    WaitABit,
    WaitLong,
}

const EVENTS: [Event; 7] = [
    Event::Ask,
    Event::Good,
    Event::Bad,
    Event::Abandon,
    Event::Lose,
    Event::WaitABit,
    Event::WaitLong,
];

/// Long enough for an outage, a round that comes to nothing, and a ramp that trips.
const LENGTH: u32 = 6;

const PROBES: u32 = 2;
const PATIENCE: u64 = SECOND;

fn config() -> BreakerConfig {
    of_two()
        .with_probes(PROBES, Duration::from_secs(1))
        .unwrap()
        .with_open_time(millis(500), millis(1_000))
        .unwrap()
        .with_ramp(millis(500))
        .unwrap()
}

fn of_two() -> BreakerConfig {
    BreakerConfig::new().with_consecutive(2).unwrap()
}

struct World {
    breaker: Breaker,
    now: u64,
    permits: VecDeque<(Permit, Place)>,
    /// How many permits each round has given out, less those that were given back.
    probes: HashMap<u16, u32>,
}

/// Where a permit counts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Place {
    probe: bool,
    round: u16,
}

impl World {
    /// Starts where the machine is interesting: closed, and open.
    fn new(open: bool) -> Self {
        let mut world = Self {
            breaker: breaker(config()),
            now: SECOND,
            permits: VecDeque::new(),
            probes: HashMap::new(),
        };
        if open {
            world.now = trip(&world.breaker, world.now);
        }
        world
    }

    fn place(&self) -> Option<Place> {
        let status = self.breaker.status(self.now);
        let round = status.round;
        match status.state {
            BreakerState::Open { .. } => None,
            BreakerState::HalfOpen { .. } => Some(Place { probe: true, round }),
            BreakerState::Closed | BreakerState::Ramp { .. } => Some(Place {
                probe: false,
                round,
            }),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ask => self.ask(),
            Event::Good => self.end(CallEnd::succeeded(SOON)),
            Event::Bad => self.end(CallEnd::failed(SOON)),
            Event::Abandon => {
                if let Some((permit, place)) = self.permits.pop_front() {
                    self.breaker.abandon(permit);
                    if place.probe {
                        *self.probes.get_mut(&place.round).unwrap() -= 1;
                    }
                }
            }
            Event::Lose => drop(self.permits.pop_front()),
            Event::WaitABit => self.now += 300 * MS,
            Event::WaitLong => self.now += 1_200 * MS,
        }
    }

    fn ask(&mut self) {
        let before = self.breaker.status(self.now);
        let answer = self.breaker.ask(self.now);
        match (before.state, &answer.verdict) {
            (BreakerState::Closed, verdict) => assert!(verdict.is_ok(), "closed, all pass"),
            (BreakerState::Open { left }, verdict) => {
                assert_eq!(
                    verdict.is_ok(),
                    left.is_zero(),
                    "open until its time is over"
                );
            }
            (BreakerState::HalfOpen { .. } | BreakerState::Ramp { .. }, _) => {}
        }
        if let Ok(permit) = answer.verdict {
            let place = self.place().expect("nothing passes while it is open");
            assert_eq!(place.probe, permit.is_probe());
            if place.probe {
                let given = self.probes.entry(place.round).or_default();
                *given += 1;
                assert!(
                    *given <= PROBES,
                    "a round gives out its permits and no more"
                );
            }
            self.permits.push_back((permit, place));
        }
    }

    fn end(&mut self, end: CallEnd) {
        let Some((permit, place)) = self.permits.pop_front() else {
            return;
        };
        let (here, before) = (self.place(), self.breaker.status(self.now));
        let change = self.breaker.record(permit, end, self.now);
        if here != Some(place) {
            assert_eq!(change, None, "what comes late changes nothing");
            assert_eq!(self.breaker.status(self.now), before);
        }
    }

    /// Lets the target work from now on: it must be closed after the longest open time, two rounds
    /// and a ramp at the latest.
    fn must_recover(&mut self) {
        self.permits.clear();
        let until = self.now + SECOND + 2 * PATIENCE + SECOND;
        while self.breaker.status(self.now).state != BreakerState::Closed {
            assert!(
                self.now <= until,
                "stuck: {:?}",
                self.breaker.status(self.now)
            );
            self.now += 100 * MS;
            if let Ok(permit) = self.breaker.ask(self.now).verdict {
                let _ = self
                    .breaker
                    .record(permit, CallEnd::succeeded(SOON), self.now);
            }
        }
    }

    /// Lets the target fail: a closed breaker must trip at the second failure.
    fn must_trip(&self) {
        let _ = good(&self.breaker, self.now);
        assert_eq!(fail(&self.breaker, self.now), None);
        let change = fail(&self.breaker, self.now);
        assert!(matches!(change, Some(Change::Tripped { .. })), "inert");
    }
}

#[test]
fn whatever_happens_it_is_neither_inert_nor_stuck_nor_generous() {
    for open in [false, true] {
        for sequence in 0..(EVENTS.len() as u32).pow(LENGTH) {
            let mut world = World::new(open);
            let mut rest = sequence as usize;
            for _ in 0..LENGTH {
                world.happen(EVENTS[rest % EVENTS.len()]);
                rest /= EVENTS.len();
            }

            world.must_recover();
            world.must_trip();
        }
    }
}
