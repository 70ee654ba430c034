//! What came of an operation.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use steadfast_core::{Cause, clock, rng};

use super::held::{Claimed, Flight};
use super::operation::{Asked, Books, Limited, Outcome, Told};
use super::runs::released;
use super::{Engine, SURELY_OVER, SUSPECT_EVERY, nanos};
use crate::Error;
use crate::decide::floor::Seen;
use crate::decide::poll::{FLOOR, apart};
use crate::decide::retry::Follow;
use crate::worker::execute::Finished;
use crate::worker::run::settled;

/// The first and the longest wait after an operation failed.
const FAILED_FIRST: Duration = Duration::from_millis(100);
pub(super) const FAILED_LONGEST: Duration = Duration::from_secs(5);

/// How long an end waits that finds the row of its job locked: 250 ms. It is not that it hurries: whoever has locked it
/// may hang.
const LOCKED_AGAIN: Duration = Duration::from_millis(250);

impl Engine {
    pub(super) fn apply(&mut self, now: u64, outcome: Outcome) {
        match outcome {
            Outcome::Exchanged {
                sent,
                asked,
                began,
                told: Ok(told),
            } => {
                self.failures = 0;
                if told.at_us.is_none() && !asked.is_empty() {
                    // Our own clock did not see it: the one of the database rules.
                    self.lost.cancel(Cause::LeaseLost);
                }
                let sent = self.keep_locked(now, sent, &told.locked);
                self.note_settled(now, sent, &told.ended, &told.settled);
                self.take(now, &asked, began, told);
            }
            Outcome::PutBack {
                mut sent,
                told: Ok(told),
            } => {
                self.failures = 0;
                for finished in &mut sent {
                    if told.stopped.contains(&finished.id) {
                        finished.follow = Follow::Stop;
                    }
                }
                let sent = self.keep_locked(now, sent, &told.locked);
                self.tell_put_back(&sent);
                self.note_settled(now, sent, &told.taken, &told.settled);
            }
            Outcome::Late {
                incarnation,
                sent,
                told: Ok(told),
            } => {
                self.failures = 0;
                // Which queues they were of is not known any more.
                if !told.ended.is_empty() || !told.settled.is_empty() {
                    self.queues.iter_mut().for_each(|queue| queue.freed(now));
                }
                for mut finished in sent {
                    if told.ended.contains(&finished.id) || is_in(&told.settled, &mut finished) {
                        self.tell_end(&finished);
                    } else if told.locked.contains(&finished.id) {
                        finished.locked += 1;
                        self.locked_until = now + nanos(LOCKED_AGAIN);
                        self.legacy.late.push((incarnation, finished));
                    } else {
                        self.reject(incarnation, finished);
                    }
                }
            }
            Outcome::Late {
                incarnation,
                sent,
                told: Err(error),
            } => {
                let sent = sent.into_iter().map(|finished| (incarnation, finished));
                self.legacy.late.extend(sent);
                self.failed(now, &error);
            }
            Outcome::Rejected(noted) => {
                if let Err(error) = noted {
                    tracing::debug!(target: "steadfast::jobs", %error, "rejected ends were not noted");
                }
            }
            Outcome::Exchanged {
                sent,
                asked,
                told: Err(error),
                ..
            } => {
                self.done.extend(sent);
                // Whatever woke it is there still, and no poll may be due for long.
                self.woken |= !asked.is_empty();
                self.failed(now, &error);
            }
            Outcome::PutBack {
                sent,
                told: Err(error),
            } => {
                self.back.extend(sent);
                self.failed(now, &error);
            }
            Outcome::Suspect(told) => {
                let next = suspect_again(now);
                let asked = self.queues.iter_mut();
                for queue in asked.filter(|queue| queue.next_suspect == u64::MAX) {
                    queue.next_suspect = next;
                }
                let told = told.unwrap_or_else(|error| {
                    self.failed(now, &error);
                    None
                });
                if let Some(job) = told.and_then(|told| self.suspect(now, told)) {
                    self.queues[job.queue].ready.push_front(job);
                }
            }
            Outcome::Limited {
                index,
                told: Ok(told),
            } => {
                self.failures = 0;
                self.take_limited(now, index, told);
            }
            Outcome::Limited {
                index,
                told: Err(error),
            } => {
                self.queues[index].ask_at(now);
                self.failed(now, &error);
            }
            Outcome::Found(Ok(found)) => {
                self.failures = 0;
                self.uncertain = false;
                self.note_found(now, &found.ended, found.held);
            }
            Outcome::Checked {
                asked,
                told: Ok(told),
            } => {
                self.failures = 0;
                for (flight, finished) in asked {
                    self.settle_checked(now, flight, finished, &told);
                }
            }
            Outcome::Checked {
                asked,
                told: Err(error),
            } => {
                self.perhaps.extend(asked);
                self.failed(now, &error);
            }
            Outcome::Found(Err(error)) => self.failed(now, &error),
        }
    }

    pub(super) fn failed(&mut self, now: u64, error: &Error) {
        // Whatever the error says: asking again is cheap, and losing a job is not.
        self.uncertain = true;
        let limit = self.jobs.store().config().statement_timeout + SURELY_OVER;
        self.ask_again = Some(now.saturating_add(nanos(limit)));
        self.failures = self.failures.saturating_add(1);
        if !self.done.is_empty() || !self.back.is_empty() {
            self.since.get_or_insert(now);
        }
        let ceiling = FAILED_FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(FAILED_LONGEST);
        let wait = ((u128::from(rng::bits()) * u128::from(nanos(ceiling))) >> 64) as u64;
        self.not_before = now + wait.max(nanos(FAILED_FIRST) / 2);
        if self.failures == 1 || self.failures.is_power_of_two() {
            tracing::warn!(
                target: "steadfast::jobs",
                failures = self.failures,
                error = %error,
                cause = error.store().map(tracing::field::display),
                "the store does not take the work of this node; handlers go on while the lease holds"
            );
        }
    }

    /// Takes what an exchange has claimed.
    pub(super) fn take(&mut self, now: u64, asked: &[Asked], began: u64, told: Told) {
        let mut found: Vec<Vec<Claimed>> = self.queues.iter().map(|_| Vec::new()).collect();
        for packed in told.claimed {
            for job in self.unpacked(now, packed) {
                found[job.queue].push(job);
            }
        }
        if asked.is_empty() {
            return;
        }
        self.pace.exchanged(now.saturating_sub(began));
        self.more = false;
        let (mut any, mut again) = (false, u64::MAX);
        for (index, from, want) in asked {
            let mut jobs = std::mem::take(&mut found[*index]);
            // The store gives them in the order of its pages.
            jobs.sort_unstable_by_key(|job| (job.rank_us, job.id));
            let seen = Seen {
                from: *from,
                began,
                at_us: told.at_us.unwrap_or(i64::MIN),
                wanted: *want,
                found: jobs.len(),
                last_rank_us: jobs.last().map(|job| job.rank_us),
            };
            let queue = &mut self.queues[*index];
            let look_at = queue.floor.claimed(now, seen);
            again = again.min(look_at.unwrap_or(u64::MAX));
            any |= !jobs.is_empty();
            self.more |= jobs.len() >= *want;
            queue.hold(jobs);
        }
        if any {
            self.poll.found();
        }
        let next_poll = if any {
            // What comes in meanwhile wakes, and the ends of these jobs take the next ones along.
            now + nanos(FLOOR)
        } else {
            now + nanos(self.poll.nothing(rng::bits()))
        };
        self.next_poll = self.next_poll.min(next_poll).min(again);
    }

    /// Tells this process and others of jobs that were put back, if claims may have gone on from above their ranks.
    fn tell_put_back(&self, sent: &[Finished]) {
        let at_once = |end: &Finished| {
            matches!(
                end.follow,
                Follow::Release | Follow::Retry(Duration::ZERO) | Follow::Snooze(Duration::ZERO)
            )
        };
        if sent.iter().any(at_once) {
            self.jobs.wake();
        }
    }

    /// Keeps the ends that cannot be told now because somebody has locked their rows; gives the others.
    pub(super) fn keep_locked(
        &mut self,
        now: u64,
        sent: Vec<Finished>,
        locked: &[i64],
    ) -> Vec<Finished> {
        if locked.is_empty() {
            return sent;
        }
        // The others wait no longer for those that come later.
        if now >= self.locked_until {
            self.locked_until = now + nanos(LOCKED_AGAIN);
        }
        let (mut waits, rest): (Vec<Finished>, Vec<Finished>) =
            sent.into_iter().partition(|end| locked.contains(&end.id));
        waits.iter_mut().for_each(|end| end.locked += 1);
        let tries = waits.iter().map(|end| end.locked).max().unwrap_or(0);
        // Whoever has it at first may be about to let go.
        if tries > 1 && tries.is_power_of_two() {
            tracing::warn!(
                target: "steadfast::jobs",
                job = locked[0],
                ends = locked.len(),
                tries,
                "ends of runs wait: somebody has locked the rows of their jobs, such as a transaction that hangs"
            );
        }
        self.locked.extend(waits);
        rest
    }

    /// Has the ends that were locked told once more.
    pub(super) fn try_locked(&mut self, now: u64) {
        for finished in std::mem::take(&mut self.locked) {
            match finished.follow {
                Follow::Retry(_) | Follow::Snooze(_) | Follow::Release => self.back.push(finished),
                _ => self.done.push(finished),
            }
            self.since.get_or_insert(now);
        }
    }

    pub(super) fn take_limited(&mut self, now: u64, index: usize, told: Limited) {
        let claimed = told.claimed.iter();
        let claimed = claimed.filter_map(|row| self.claimed(now, row, 1));
        let mut jobs: Vec<Claimed> = claimed.collect();
        jobs.sort_unstable_by_key(|job| (job.rank_us, job.id));
        jobs.extend(told.suspect.and_then(|told| self.suspect(now, told)));
        let goes_on = told.ours && !told.from_key.is_empty();
        let more = !jobs.is_empty() || goes_on;
        // Each look gets past some of them, so this comes to an end.
        let only_held_back = told.held_back && jobs.is_empty();
        let queue = &mut self.queues[index];
        queue.hold(jobs);
        queue.limits_are_new &= !told.ours;
        queue.from_key = told.from_key;
        if told.asked_for_suspect {
            queue.next_suspect = suspect_again(now);
        }
        let wait = if only_held_back {
            queue.poll.found();
            Duration::ZERO
        } else if more {
            queue.poll.found();
            FLOOR
        } else {
            // Somebody who claims now says nothing of whether there is more. At random, or they would meet again.
            if told.is_taken {
                queue.poll.found();
            }
            queue.poll.nothing(rng::bits())
        };
        // Somebody may have said meanwhile that there is something.
        queue.ask_at(now + nanos(wait));
    }

    /// Goes on with a run whose handler has completed it, now that the store has said whether that
    /// was committed.
    pub(super) fn settle_checked(
        &mut self,
        now: u64,
        flight: Flight,
        mut finished: Finished,
        told: &Books,
    ) {
        if told.contains_key(&finished.id) {
            finished.settled = settled::YES;
        } else if finished.follow == Follow::Complete {
            // The effects are not there, so the job must not be completed.
            finished.follow = Follow::Retry(Duration::from_secs(1));
            finished.error = Some("completed in a transaction that was not committed".into());
        }
        self.settle(now, &flight, finished);
    }

    /// Takes notice of what the store says of the ends that were sent: which it has taken, and which had ended before.
    pub(super) fn note_settled(
        &mut self,
        now: u64,
        sent: Vec<Finished>,
        taken: &[i64],
        settled: &Books,
    ) {
        let all = sent.len() == taken.len();
        let taken: HashSet<i64> = if all {
            HashSet::new()
        } else {
            taken.iter().copied().collect()
        };
        for mut finished in sent {
            if all || taken.contains(&finished.id) || is_in(settled, &mut finished) {
                self.end_is_known(now, &finished);
            } else {
                self.frees.remove(&finished.id);
                self.lose_end(self.incarnation, finished);
            }
        }
    }

    /// Tells an end that counts; what it has left free in a queue with limits can be claimed for from now on.
    fn end_is_known(&mut self, now: u64, finished: &Finished) {
        self.tell_end(finished);
        if let Some(index) = self.frees.remove(&finished.id) {
            self.queues[index].freed(now);
        }
    }

    /// Puts right what an operation without a known outcome has left.
    pub(super) fn note_found(&mut self, now: u64, ended: &Books, held: Vec<(i64, i64)>) {
        let books: HashMap<i64, i64> = held.iter().copied().collect();
        for mut finished in std::mem::take(&mut self.done) {
            if is_in(ended, &mut finished) {
                self.end_is_known(now, &finished);
            } else {
                self.done.push(finished);
            }
        }
        // What was put back is pending by now, has ended, or is another's.
        let (open, mut gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.back)
            .into_iter()
            .partition(|end| books.get(&end.id) == Some(&end.term));
        self.back = open;
        for finished in &mut gone {
            is_in(ended, finished);
        }
        self.tell_put_back(&gone);
        for finished in &gone {
            self.end_is_known(now, finished);
        }
        let known = |id: i64, term: i64| {
            self.flights
                .get(&id)
                .is_some_and(|flight| flight.run.0.term == term)
                || self
                    .done
                    .iter()
                    .chain(&self.back)
                    .chain(self.perhaps.iter().map(|(_, end)| end))
                    .any(|end| (end.id, end.term) == (id, term))
                || self.queues.iter().any(|queue| {
                    queue
                        .ready
                        .iter()
                        .any(|job| (job.id, job.term) == (id, term))
                })
        };
        let unknown: Vec<(i64, i64)> = held
            .into_iter()
            .filter(|(id, term)| !known(*id, *term))
            .collect();
        for (id, term) in unknown {
            self.back.push(released(id, term));
        }
        let now = clock::nanos();
        self.since = (!self.done.is_empty() || !self.back.is_empty()).then_some(now);
    }
}

/// Tells whether a run has ended by the books, and has it told as it is there.
fn is_in(books: &Books, finished: &mut Finished) -> bool {
    let Some(follow) = books.get(&finished.id) else {
        return false;
    };
    finished.follow = *follow;
    true
}

/// Gives when a suspect is asked for again after an answer.
fn suspect_again(now: u64) -> u64 {
    now + nanos(apart(SUSPECT_EVERY, rng::bits()))
}
