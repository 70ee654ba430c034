//! The documented rules once more, from what an outsider sees.
//!
//! The books are kept from commands and reports alone and predict each verdict on their own, so
//! that a rule has to be wrong twice, in two different ways, to go unnoticed.

use super::super::*;
use super::shell::{SECOND, name};
use super::world::{WITHIN, World};

/// What an outsider knows about one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Book {
    pub(super) restart: Restart,
    pub(super) run: u64,
    pub(super) life: Life,
    /// Has yet to get ready for the first time: if it does not, the whole start fails.
    pub(super) initial: bool,
    /// An end is no news: it was asked to stop, or a sibling or the group takes it down.
    pub(super) expected: bool,
    /// The newest start was asked for by hand.
    pub(super) asked: bool,
    /// To be removed once it is down.
    pub(super) removing: bool,
    /// Removed from the group.
    pub(super) gone: bool,
    /// Nobody owes it a start.
    pub(super) at_rest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Life {
    Down,
    Starting,
    Late,
    Running,
    Stopping,
    Lost,
}

impl World {
    pub(super) fn take_down(&mut self, index: usize, remove: bool) {
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

    pub(super) fn end(&mut self, index: usize, end: End) {
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

    pub(super) fn expect_all_down(&mut self) {
        self.ending = true;
        for book in &mut self.books {
            book.expected = book.life != Life::Down;
            book.at_rest = true;
        }
    }

    pub(super) fn carry_out(&mut self) {
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
        let index = instance.child.0 as usize - 1;
        let stuck = self.stuck == Some(index);
        let was = self.book(instance).life;
        self.book(instance).life = Life::Lost;
        let book = *self.book(instance);
        match was {
            Life::Stopping => assert!(book.expected),
            Life::Starting | Life::Running if !stuck => panic!("written off while {was:?}"),
            Life::Starting | Life::Late | Life::Running if book.expected => {}
            // Late or stuck, and nobody wanted it down: the start has failed.
            Life::Starting | Life::Late if book.asked => self.lay_to_rest(instance),
            Life::Running if book.restart == Restart::Temporary => self.lay_to_rest(instance),
            Life::Starting | Life::Late | Life::Running => self.expect_all_down(),
            Life::Down | Life::Lost => panic!("written off while {was:?}"),
        }
        // A life that cannot be ended stands in the way of the next one.
        if !self.books[instance.child.0 as usize - 1].at_rest {
            self.expect_all_down();
        }
    }

    fn lay_to_rest(&mut self, instance: Instance) {
        self.book(instance).at_rest = true;
        self.book(instance).expected = true;
    }

    fn check_finish(&mut self, outcome: Outcome) {
        assert!(self.ending, "ended with {outcome:?} for no reason");
        let over = |book: &Book| matches!(book.life, Life::Down | Life::Lost);
        assert!(self.books.iter().all(over), "ended before its children");
        assert_eq!(self.group.status(), Status::Closed(outcome));
        self.finished = true;
    }

    pub(super) fn check_views(&self) {
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
}
