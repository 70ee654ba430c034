//! A group of three and what may happen to it next.

use super::super::child::{Child, ChildId, Phase};
use super::super::*;
use super::books::{Book, Life};
use super::shell::{SECOND, restart_kind, rules};
use std::time::Duration;

/// The seconds within which restarts are counted, few enough for the window to empty during a
/// stop.
pub(super) const WITHIN: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    Ready(usize),
    End(usize, End),
    Stuck(usize),
    Wake,
    Stop,
    StopChild(usize),
    StartChild(usize),
    RemoveChild(usize),
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) strategy: Strategy,
    pub(super) group: Supervision,
    pub(super) allowed: usize,
    pub(super) now: u64,
    pub(super) books: [Book; 3],
    pub(super) restarted_at: Vec<u64>,
    /// All of the first children were ready, or need not be.
    pub(super) complete: bool,
    pub(super) ending: bool,
    pub(super) finished: bool,
    /// A request by hand stops a child out of turn.
    pub(super) by_hand: bool,
    /// This one was reported to be over but for something inside of it.
    pub(super) stuck: Option<usize>,
    /// Requests by hand that may still be made.
    pub(super) hands: u32,
    /// All moves so far: what to read when an assertion fails.
    pub(super) trail: Vec<Move>,
}

impl World {
    pub(super) fn new(strategy: Strategy, kinds: [char; 3], restarts: u32, hands: u32) -> Self {
        let limit = Duration::from_secs(1);
        let rules = rules(strategy, restarts, WITHIN)
            .with_abort_limit(limit)
            .unwrap();
        let mut group = Supervision::new(rules);
        let books = kinds.map(|kind| {
            let spec = ChildSpec::new(restart_kind(kind))
                .with_stop_limit(StopLimit::Within(limit))
                .and_then(|spec| spec.with_ready_within(limit * 2))
                .unwrap();
            group.add(spec, 0).unwrap();
            Book {
                restart: restart_kind(kind),
                run: 0,
                life: Life::Down,
                initial: true,
                expected: false,
                asked: false,
                removing: false,
                gone: false,
                at_rest: false,
            }
        });
        group.start(0).unwrap();
        let mut world = Self {
            strategy,
            group,
            allowed: restarts as usize,
            now: 0,
            books,
            restarted_at: Vec::new(),
            complete: false,
            ending: false,
            finished: false,
            by_hand: false,
            stuck: None,
            hands,
            trail: Vec::new(),
        };
        world.carry_out();
        world
    }

    pub(super) fn instance(&self, index: usize) -> Instance {
        Instance {
            child: ChildId(index as u64 + 1),
            run: self.books[index].run,
        }
    }

    pub(super) fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for index in 0..3 {
            let book = &self.books[index];
            match book.life {
                Life::Down => {}
                Life::Starting => moves.extend([
                    Move::Ready(index),
                    Move::End(index, End::Normal),
                    Move::End(index, End::Failed),
                ]),
                Life::Running | Life::Late => {
                    moves.extend([Move::End(index, End::Normal), Move::End(index, End::Failed)])
                }
                Life::Stopping | Life::Lost => moves.push(Move::End(index, End::Panicked)),
            }
            if !matches!(book.life, Life::Down | Life::Lost) {
                moves.push(Move::Stuck(index));
            }
            if self.hands > 0 && !book.gone && !self.ending {
                moves.extend([Move::StopChild(index), Move::RemoveChild(index)]);
                if book.life == Life::Down && book.at_rest {
                    moves.push(Move::StartChild(index));
                }
            }
        }
        if self.group.wake_at().is_some() {
            moves.push(Move::Wake);
        }
        if !self.ending {
            moves.push(Move::Stop);
        }
        moves
    }

    pub(super) fn make(&mut self, step: Move) {
        self.by_hand = false;
        self.stuck = None;
        self.trail.push(step);
        match step {
            Move::Ready(index) => {
                let instance = self.instance(index);
                assert!(self.group.ready(instance, self.now));
                self.books[index].life = Life::Running;
                self.books[index].initial = false;
                self.books[index].asked = false;
            }
            Move::End(index, end) => self.end(index, end),
            Move::Stuck(index) => {
                self.stuck = Some(index);
                let instance = self.instance(index);
                self.group.stuck(instance, End::Failed, self.now);
            }
            Move::Wake => {
                let wake = self.group.wake_at().unwrap();
                assert!(wake >= self.now, "woken in the past");
                let before = self.fingerprint();
                self.now = wake;
                self.group.tick(wake);
                assert_ne!(before, self.fingerprint(), "woken for nothing");
            }
            Move::Stop => {
                self.group.stop(self.now);
                self.expect_all_down();
            }
            Move::StopChild(index) => self.take_down(index, false),
            Move::RemoveChild(index) => self.take_down(index, true),
            Move::StartChild(index) => {
                self.hands -= 1;
                let child = self.instance(index).child;
                self.books[index].asked = true;
                self.books[index].initial = false;
                self.books[index].at_rest = false;
                self.group.start_child(child, self.now).unwrap();
            }
        }
        self.carry_out();
        self.check_views();
    }

    /// With well-behaved children from here on, every start that is owed is made; then the group
    /// can be stopped.
    pub(super) fn check_settles(mut self) {
        for _ in 0..60 {
            let good = self.moves().into_iter().find(|step| match step {
                Move::Ready(index) => !self.books[*index].expected,
                Move::End(index, _) => {
                    matches!(self.books[*index].life, Life::Stopping | Life::Late)
                }
                Move::Wake => true,
                _ => false,
            });
            match good {
                Some(step) => self.make(step),
                None => break,
            }
        }
        if !self.ending {
            for book in &self.books {
                let waits = book.life != Life::Running && !book.at_rest && !book.gone;
                assert!(!waits, "a start is owed and never made: {book:?}");
            }
            assert!(self.complete, "the start is never complete");
            self.make(Move::Stop);
            return self.check_settles();
        }
        assert!(self.finished, "an ending group never ends");
    }

    /// All that can make a difference later, with times relative to now.
    pub(super) fn fingerprint(&self) -> (Vec<u64>, [Book; 3], String) {
        let ahead = |at: u64| at.saturating_sub(self.now);
        let mut numbers = vec![u64::from(self.complete), u64::from(self.hands)];
        for child in &self.group.children {
            let Child {
                phase, next, cause, ..
            } = child;
            let phase = match *phase {
                Phase::Down => 0,
                Phase::Starting { until } => 1 + ahead(until),
                // Constant backoff: how long it has worked makes no difference.
                Phase::Running { .. } => 2,
                Phase::Stopping { until } => 3 + ahead(until.unwrap()),
                Phase::Aborting { until } => 4 + ahead(until),
                Phase::WrittenOff => 5,
            };
            let flags = u64::from(child.doomed) * 2 + u64::from(child.overdue);
            numbers.extend([
                child.id.0,
                phase,
                *next as u64,
                *cause as u64,
                flags,
                ahead(child.not_before),
            ]);
        }
        let recent = self.restarted_at.iter().map(|at| self.now - at);
        numbers.extend(recent.filter(|age| *age <= WITHIN * SECOND));
        let books = self.books.map(|book| Book {
            run: book.run.min(1),
            ..book
        });
        (numbers, books, format!("{:?}", self.group.status()))
    }
}
