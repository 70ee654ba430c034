//! Every state that three children can reach, and every event in each of them.
//!
//! The books below are kept from commands and reports alone and predict each verdict on their
//! own, so that a rule has to be wrong twice, in two different ways, to go unnoticed. States that
//! differ only in the absolute time are visited once; with a constant backoff and short limits
//! there are few enough to visit all, so the sequences have no length limit.

use super::super::child::{Cause, Child, Phase};
use super::super::*;
use super::shell::{SECOND, name, restart_kind, rules};
use std::collections::{HashSet, VecDeque};
use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

/// The seconds within which restarts are counted, few enough for the window to empty during a
/// stop.
const WITHIN: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Ready(usize),
    End(usize, End),
    Wake,
    Stop,
    StopChild(usize),
    StartChild(usize),
    RemoveChild(usize),
}

/// What an outsider knows about one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Book {
    restart: Restart,
    run: u64,
    life: Life,
    /// Has yet to get ready for the first time: if it does not, the whole start fails.
    initial: bool,
    /// An end is no news: it was asked to stop, or a sibling or the group takes it down.
    expected: bool,
    /// The newest start was asked for by hand.
    asked: bool,
    /// To be removed once it is down.
    removing: bool,
    /// Removed from the group.
    gone: bool,
    /// Nobody owes it a start.
    at_rest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Life {
    Down,
    Starting,
    Late,
    Running,
    Stopping,
    Lost,
}

#[derive(Clone, Debug)]
struct World {
    strategy: Strategy,
    group: Supervision,
    allowed: usize,
    now: u64,
    books: [Book; 3],
    restarted_at: Vec<u64>,
    /// All of the first children were ready, or need not be.
    complete: bool,
    ending: bool,
    finished: bool,
    /// A request by hand stops a child out of turn.
    by_hand: bool,
    /// Requests by hand that may still be made.
    hands: u32,
    /// All moves so far: what to read when an assertion fails.
    trail: Vec<Move>,
}

impl World {
    fn new(strategy: Strategy, kinds: [char; 3], restarts: u32, hands: u32) -> Self {
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
            hands,
            trail: Vec::new(),
        };
        world.carry_out();
        world
    }

    fn instance(&self, index: usize) -> Instance {
        Instance {
            child: super::super::child::ChildId(index as u64 + 1),
            run: self.books[index].run,
        }
    }

    fn moves(&self) -> Vec<Move> {
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

    fn make(&mut self, step: Move) {
        self.by_hand = false;
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

    fn take_down(&mut self, index: usize, remove: bool) {
        self.by_hand = true;
        self.hands -= 1;
        let child = self.instance(index).child;
        let answer = if remove {
            self.group.remove_child(child, self.now)
        } else {
            self.group.stop_child(child, self.now)
        };
        answer.unwrap();
        self.books[index].removing |= remove;
        self.books[index].at_rest = true;
        self.books[index].expected = self.books[index].life != Life::Down;
    }

    fn end(&mut self, index: usize, end: End) {
        let instance = self.instance(index);
        let expect = self.predict(index, end);

        let verdict = self.group.ended(instance, end, self.now, 0);

        assert_eq!(verdict, expect, "{} ended {end:?}", name(instance.child));
        self.books[index].life = Life::Down;
        self.books[index].expected = false;
        match verdict {
            Verdict::Expected => {}
            Verdict::GivenUp => self.books[index].at_rest = true,
            Verdict::StartFailed => {
                self.books[index].at_rest = true;
                if !self.books[index].asked {
                    self.expect_all_down();
                }
            }
            Verdict::Escalated => self.expect_all_down(),
            Verdict::Restart { .. } => self.expect_restart(index),
            Verdict::Unknown => panic!("the instance was live"),
        }
        let again = self.group.ended(instance, end, self.now, 0);
        assert_eq!(again, Verdict::Unknown, "one end, one consequence");
    }

    /// The documented rules once more, from what an outsider knows.
    fn predict(&self, index: usize, end: End) -> Verdict {
        let book = &self.books[index];
        if book.expected || self.ending {
            return Verdict::Expected;
        }
        let late = book.life == Life::Late;
        let normal = !late && matches!(end, End::Normal | End::Stopped);
        if normal && book.restart != Restart::Permanent {
            return Verdict::GivenUp;
        }
        if book.life != Life::Running && (book.asked || book.initial) {
            return Verdict::StartFailed;
        }
        if book.life == Life::Running && book.restart == Restart::Temporary {
            return Verdict::GivenUp;
        }
        let recent = |at: &&u64| self.now - **at <= WITHIN * SECOND;
        if self.restarted_at.iter().filter(recent).count() >= self.allowed {
            return Verdict::Escalated;
        }
        let blocked = self.affected(index).any(|sibling| {
            let book = &self.books[sibling];
            let starts = book.restart != Restart::Temporary && !book.removing;
            book.life == Life::Lost && starts
        });
        if blocked {
            return Verdict::Escalated;
        }
        Verdict::Restart {
            at: self.now + SECOND,
        }
    }

    fn affected(&self, index: usize) -> std::ops::Range<usize> {
        match self.strategy {
            Strategy::OneForOne => index..index + 1,
            Strategy::OneForAll => 0..3,
            Strategy::RestForOne => index..3,
        }
    }

    fn expect_restart(&mut self, index: usize) {
        self.restarted_at.push(self.now);
        for sibling in self.affected(index) {
            let book = &mut self.books[sibling];
            if book.gone {
                continue;
            }
            let dies = book.life != Life::Down && book.restart == Restart::Temporary;
            // What was at rest is started for the sake of the restart, and counts as one.
            book.initial &= book.life != Life::Down || !book.at_rest;
            book.expected = book.life != Life::Down;
            book.at_rest = dies || book.removing;
            book.asked = false;
        }
    }

    fn expect_all_down(&mut self) {
        self.ending = true;
        for book in &mut self.books {
            book.expected = book.life != Life::Down;
            book.at_rest = true;
        }
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.group.next_command() {
            assert!(!self.finished, "{command:?} after the last command");
            match command {
                Command::Start(instance) => self.check_start(instance),
                Command::Stop(instance) => self.check_stop(instance),
                Command::Abort(instance) => {
                    let book = self.book(instance);
                    book.life = match book.life {
                        Life::Starting => Life::Late,
                        Life::Stopping => Life::Stopping,
                        other => panic!("aborted while {other:?}"),
                    };
                }
                Command::WriteOff(instance) => self.check_write_off(instance),
                Command::Forget(child) => {
                    let book = &mut self.books[child.0 as usize - 1];
                    assert_eq!(book.life, Life::Down, "forgot a child that lives");
                    assert!(book.at_rest, "forgot a child that is owed a start");
                    book.gone = true;
                }
                Command::Ready => {
                    assert!(!self.complete && !self.ending);
                    let up = |book: &Book| match book.life {
                        Life::Running => !book.expected,
                        Life::Down => book.at_rest,
                        Life::Lost => true,
                        Life::Starting | Life::Late | Life::Stopping => false,
                    };
                    assert!(self.books.iter().all(up), "ready, but not all of it");
                    self.complete = true;
                }
                Command::Finish(outcome) => self.check_finish(outcome),
            }
        }
    }

    fn book(&mut self, instance: Instance) -> &mut Book {
        let book = &mut self.books[instance.child.0 as usize - 1];
        assert!(
            book.life != Life::Down && book.run == instance.run,
            "{instance:?} is not live"
        );
        book
    }

    fn check_start(&mut self, instance: Instance) {
        let index = instance.child.0 as usize - 1;
        assert!(!self.ending, "an ending group starts a child");
        assert_eq!(self.books[index].life, Life::Down, "two lives of one child");
        assert!(!self.books[index].gone && !self.books[index].at_rest);
        let temporary = self.books[index].restart == Restart::Temporary;
        assert!(
            !temporary || self.books[index].run == 0,
            "a second life of a temporary child"
        );
        let in_order = self.strategy != Strategy::OneForOne || self.books[index].initial;
        if in_order && !self.books[index].asked {
            for (other, book) in self.books.iter().enumerate() {
                let unready = matches!(book.life, Life::Starting | Life::Late);
                let same_start = self.strategy != Strategy::OneForOne || book.initial;
                assert!(
                    !(unready && same_start),
                    "started before the one before was ready"
                );
                let owed = book.life == Life::Down && !book.at_rest && !book.gone;
                let skipped = other < index && owed && same_start;
                assert!(!skipped, "started out of order");
            }
        }
        let book = &mut self.books[index];
        book.run += 1;
        assert_eq!(book.run, instance.run);
        book.life = Life::Starting;
    }

    fn check_stop(&mut self, instance: Instance) {
        let by_hand = self.by_hand;
        let index = instance.child.0 as usize - 1;
        if !by_hand {
            assert!(self.books[index].expected, "stopped without a reason");
            let busy = self.books.iter().any(|book| book.life == Life::Stopping);
            assert!(!busy, "two stopped at once");
            let later = self.books[index + 1..]
                .iter()
                .any(|book| book.expected && matches!(book.life, Life::Starting | Life::Running));
            assert!(!later, "stopped before a later one");
        }
        let book = self.book(instance);
        assert!(matches!(book.life, Life::Starting | Life::Running));
        book.life = Life::Stopping;
    }

    fn check_write_off(&mut self, instance: Instance) {
        let was = self.book(instance).life;
        self.book(instance).life = Life::Lost;
        let book = *self.book(instance);
        match was {
            Life::Stopping => assert!(book.expected),
            Life::Late if book.expected => {}
            // Late, and nobody wanted it down: the start has failed.
            Life::Late if book.asked => {
                self.book(instance).at_rest = true;
                self.book(instance).expected = true;
            }
            Life::Late => self.expect_all_down(),
            other => panic!("written off while {other:?}"),
        }
        // A life that cannot be ended stands in the way of the next one.
        if !self.books[instance.child.0 as usize - 1].at_rest {
            self.expect_all_down();
        }
    }

    fn check_finish(&mut self, outcome: Outcome) {
        assert!(self.ending, "ended with {outcome:?} for no reason");
        let over = |book: &Book| matches!(book.life, Life::Down | Life::Lost);
        assert!(self.books.iter().all(over), "ended before its children");
        assert_eq!(self.group.status(), Status::Closed(outcome));
        self.finished = true;
    }

    fn check_views(&self) {
        let mut seen = 0;
        for view in self.group.children() {
            let book = &self.books[view.id.0 as usize - 1];
            let fits = match view.state {
                ChildState::AtRest => book.life == Life::Down && book.at_rest,
                ChildState::Waiting { .. } => book.life == Life::Down && !book.at_rest,
                ChildState::Starting => book.life == Life::Starting,
                ChildState::Running => book.life == Life::Running,
                ChildState::Stopping => matches!(book.life, Life::Stopping | Life::Late),
                ChildState::WrittenOff => book.life == Life::Lost,
            };
            assert!(fits, "shows {view:?} where the books say {book:?}");
            assert!(!book.gone);
            seen += 1;
        }
        let present = self.books.iter().filter(|book| !book.gone).count();
        assert_eq!(seen, present, "a child is missing");
        let ending = matches!(self.group.status(), Status::Closing(_) | Status::Closed(_));
        assert_eq!(ending, self.ending);
    }

    /// With well-behaved children from here on, every start that is owed is made; then the group
    /// can be stopped.
    fn check_settles(mut self) {
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
    fn fingerprint(&self) -> (Vec<u64>, [Book; 3], String) {
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
            let initial = u64::from(*cause == Cause::Initial);
            let flags = u64::from(child.doomed) * 2 + u64::from(child.overdue);
            numbers.extend([
                child.id.0,
                phase,
                *next as u64,
                initial,
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

/// Visits every state once; answers how many there are.
fn explore(strategy: Strategy, kinds: [char; 3], restarts: u32, hands: u32) -> usize {
    let mut seen = HashSet::new();
    // Breadth first, so that the trail to a broken rule is a shortest one.
    let mut edge = VecDeque::from([World::new(strategy, kinds, restarts, hands)]);
    while let Some(world) = edge.pop_front() {
        for step in world.moves() {
            let mut after = world.clone();
            let checked = panic::catch_unwind(AssertUnwindSafe(|| {
                after.make(step);
                let new = seen.insert(after.fingerprint());
                if new {
                    after.clone().check_settles();
                }
                new
            }));
            match checked {
                Ok(true) => edge.push_back(after),
                Ok(false) => {}
                Err(_) => panic!(
                    "{strategy:?} {kinds:?}: {:?}, then perhaps more",
                    after.trail
                ),
            }
        }
    }
    seen.len()
}

const STRATEGIES: [Strategy; 3] = [
    Strategy::OneForOne,
    Strategy::OneForAll,
    Strategy::RestForOne,
];

fn all_kinds() -> impl Iterator<Item = [char; 3]> {
    let letters = ['P', 'T', 't'];
    (0..27).map(move |code| [letters[code / 9], letters[code / 3 % 3], letters[code % 3]])
}

#[test]
fn no_sequence_of_events_breaks_a_rule() {
    for strategy in STRATEGIES {
        for kinds in all_kinds() {
            let states = explore(strategy, kinds, 1, 0);
            assert!(
                states > 100,
                "{strategy:?} {kinds:?} has only {states} states"
            );
        }
    }
}

#[test]
fn two_requests_by_hand_at_any_moment_break_no_rule() {
    for strategy in STRATEGIES {
        let states = explore(strategy, ['P', 'T', 't'], 1, 2);
        assert!(states > 10_000, "{strategy:?} has only {states} states");
    }
}

#[test]
fn no_sequence_of_events_breaks_a_rule_whatever_the_intensity() {
    for strategy in STRATEGIES {
        for restarts in [0, 2] {
            explore(strategy, ['P', 'P', 'P'], restarts, 0);
        }
    }
}
