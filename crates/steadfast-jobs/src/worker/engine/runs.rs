//! Runs, from their start until the store knows how they ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use steadfast_core::context::Context;
use steadfast_core::{Cause, clock};

use super::held::{Claimed, Flight, Stray};
use super::operation::Operation;
use super::{Engine, LINGER, READY_MAX, REJECTED_MAX, nanos, write_off_after};
use crate::JobId;
use crate::decide::pace::Pace;
use crate::decide::retry::Follow;
use crate::event::{JobEvent, What};
use crate::worker::alone::Alone;
use crate::worker::execute::{self, CANCELLED_BY, Finished, is_settled};
use crate::worker::run::{Inner, settled};
use crate::worker::{OnLeaseLost, Run};

/// How long the ends of runs are offered to the store after the lease is lost: 2 s.
const LAST_WORD: Duration = Duration::from_secs(2);

impl Engine {
    /// Starts what has a permit.
    pub(super) fn start_ready(&mut self, now: u64) {
        for index in 0..self.queues.len() {
            let left = usize::from(self.waits_for_suspect(now, &self.queues[index]));
            while self.queues[index].running + left < self.queues[index].permits {
                let Some(job) = self.queues[index].ready.pop_front() else {
                    break;
                };
                if job.kind.is_held() {
                    self.give_back(now, index, released(job.id, job.term));
                    continue;
                }
                self.start(job);
            }
        }
    }

    /// Has a job go back to work, that was started or not.
    fn give_back(&mut self, now: u64, index: usize, finished: Finished) {
        self.will_free(index, finished.id);
        self.back.push(finished);
        self.since.get_or_insert(now);
    }

    /// Has the store tell the end of a job.
    pub(super) fn give_done(&mut self, now: u64, index: usize, finished: Finished) {
        self.will_free(index, finished.id);
        self.done.push(finished);
        self.since.get_or_insert(now);
    }

    /// Remembers that a place is free in a queue with limits, once the store knows of this end.
    fn will_free(&mut self, index: usize, id: i64) {
        if self.queues[index].limited {
            self.frees.insert(id, index);
        }
    }

    pub(super) fn start(&mut self, job: Claimed) {
        let now = clock::nanos();
        let lost = self.lost.child();
        let cancel = match job.kind.on_lease_lost {
            OnLeaseLost::Cancel => lost.child(),
            OnLeaseLost::Continue => self.beyond.child(),
        };
        let longest = job.kind.longest(job.longest);
        let over = now + nanos(longest) + write_off_after(&job.kind);
        if let Some(place) = &job.place {
            place.keep_until(over);
        }
        let id = JobId(job.id);
        let attempt = job.spent + 1;
        let run = Run(Arc::new(Inner {
            id,
            term: job.term,
            incarnation: self.incarnation,
            spent: job.spent,
            max_attempts: job.max_attempts,
            crashes: job.crashes,
            longest,
            cancel: cancel.clone(),
            lost,
            beat_ns: AtomicU64::new(now),
            settled: AtomicU8::new(settled::NO),
            alone: Alone::new(job.place),
            context: execute::context_of(id, attempt, job.trace_id.as_deref()),
        }));
        let flight = Flight {
            queue: job.queue,
            kind: job.kind.clone(),
            run: run.clone(),
            cancel,
            over,
        };
        self.tell(&flight, What::Started);
        self.queues[job.queue].running += 1;
        if let Some(before) = self.flights.insert(job.id, flight) {
            self.go_astray(now, before, false);
        }
        execute::start(job.kind, run, job.payload, self.to.clone());
    }

    /// Takes notice of runs that have ended.
    pub(super) fn note_ended(&mut self, now: u64, batch: &mut Vec<Finished>) {
        let busy = self
            .queues
            .iter()
            .any(|queue| queue.running == queue.permits);
        self.pace.ended(now, batch.len(), busy);
        for finished in batch.drain(..) {
            let ours = self.flights.get(&finished.id);
            if ours.is_none_or(|flight| flight.run.0.term != finished.term) {
                self.note_stray(now, finished);
                continue;
            }
            let Some(flight) = self.flights.remove(&finished.id) else {
                continue;
            };
            let queue = &mut self.queues[flight.queue];
            if queue.running == queue.permits && queue.ready.is_empty() {
                // There may be more, and not every end has an exchange that asks for it.
                self.next_poll = self.next_poll.min(now + nanos(LINGER));
            }
            queue.running -= 1;
            if finished.settled == settled::PERHAPS {
                self.perhaps.push((flight, finished));
            } else {
                self.settle(now, &flight, finished);
            }
        }
    }

    /// Takes notice of the end of a run whose job is not ours any more.
    fn note_stray(&mut self, now: u64, finished: Finished) {
        let Some(stray) = self.legacy.strays.remove(&(finished.id, finished.term)) else {
            return;
        };
        if stray.permit {
            let queue = &mut self.queues[stray.queue];
            queue.running -= 1;
            queue.ask_at(now);
        }
        self.written_off -= usize::from(stray.written_off);
        if is_settled(&finished) {
            self.tell_end(&Finished {
                follow: Follow::Complete,
                ..finished
            });
            return;
        }
        match finished.follow {
            Follow::Complete | Follow::Discard | Follow::Stop
                if stray.offers && finished.settled != settled::REJECTED =>
            {
                self.legacy.late.push((stray.run.0.incarnation, finished));
            }
            // It has done as it was told.
            Follow::Nothing | Follow::Release => {}
            _ => self.reject(stray.run.0.incarnation, finished),
        }
    }

    /// Tells that the lease of a run is lost, which its end has shown, and rejects the end if it is one.
    pub(super) fn lose_end(&mut self, incarnation: i64, finished: Finished) {
        self.tell_lost(&finished);
        if finished.follow != Follow::Release && !finished.kind.is_empty() {
            self.reject(incarnation, finished);
        }
    }

    fn tell_lost(&self, finished: &Finished) {
        self.tell_end(&Finished {
            follow: Follow::Nothing,
            kind: finished.kind,
            attempt: finished.attempt,
            context: finished.context,
            ..released(finished.id, finished.term)
        });
    }

    /// Counts, tells and notes an end that does not count.
    pub(super) fn reject(&mut self, incarnation: i64, finished: Finished) {
        let what = What::Rejected {
            wanted: wanted(&finished),
        };
        finished.context.run(|| {
            tracing::warn!(
                target: "steadfast::jobs",
                job = finished.id,
                kind = finished.kind,
                term = finished.term,
                wanted = wanted(&finished),
                "the end of a run is rejected: its job had gone to others, or its time was up"
            );
        });
        self.tally.tell(what.index(), || JobEvent {
            id: JobId(finished.id),
            kind: finished.kind.into(),
            attempt: finished.attempt,
            term: finished.term.unsigned_abs(),
            what,
        });
        if self.legacy.rejected.len() == REJECTED_MAX {
            self.legacy.rejected.pop_front();
        }
        self.legacy.rejected.push_back((incarnation, finished));
    }

    /// Puts the end of a run on its way to the store.
    pub(super) fn settle(&mut self, now: u64, flight: &Flight, mut finished: Finished) {
        if is_settled(&finished) {
            finished.follow = Follow::Complete;
            self.tell_end(&finished);
            self.queues[flight.queue].freed(now);
            return;
        }
        if finished.settled == settled::REJECTED {
            finished.follow = Follow::Complete;
            self.lose_end(flight.run.0.incarnation, finished);
            return;
        }
        match finished.follow {
            Follow::Complete | Follow::Discard | Follow::Stop => {
                self.give_done(now, flight.queue, finished);
            }
            Follow::Retry(_) if flight.run.attempt() >= flight.run.max_attempts() => {
                finished.follow = Follow::Discard;
                self.give_done(now, flight.queue, finished);
            }
            Follow::Retry(_) | Follow::Snooze(_) | Follow::Release => {
                self.give_back(now, flight.queue, finished);
            }
            Follow::Nothing => self.tell_end(&finished),
        }
    }

    /// Looks at handlers that should have given a sign, or ended.
    pub(super) fn look(&mut self, now: u64) {
        let mut over = Vec::new();
        for (id, flight) in &mut self.flights {
            if let Some(every) = flight.kind.beat_every {
                let silent = now.saturating_sub(flight.run.0.beat_ns.load(Ordering::Relaxed));
                if silent > nanos(every).saturating_mul(3) {
                    let stuck = format!("stuck: no sign of progress for three times {every:?}");
                    let cause = Cause::Other(Arc::from(BoxedText::from(stuck)));
                    if flight.cancel.cancel(cause) {
                        flight.over = flight.over.min(now + write_off_after(&flight.kind));
                    }
                }
            }
            if now >= flight.over {
                over.push(*id);
            }
        }
        for id in over {
            self.write_off(now, id);
        }
        self.look_at_strays(now);
        self.hand_back_idle(now);
        if self.ask_again.take_if(|at| now >= *at).is_some() {
            self.uncertain = true;
        }
    }

    /// Writes off what goes on although it was told to end long ago.
    fn look_at_strays(&mut self, now: u64) {
        let strays = self.legacy.strays.iter();
        let over = strays.filter(|(_, stray)| now >= stray.over && !stray.written_off);
        let over: Vec<(i64, i64)> = over.map(|(key, _)| *key).collect();
        for key in over {
            let spare = self.spare();
            let Some(stray) = self.legacy.strays.get_mut(&key) else {
                continue;
            };
            stray.written_off = true;
            if spare && stray.permit {
                stray.permit = false;
                self.queues[stray.queue].running -= 1;
            }
            // It may never end, and others would wait for it as long.
            stray.run.0.alone.leave();
            let (kind, run) = (stray.kind, stray.run.clone());
            self.tell_written_off(kind, &run);
        }
    }

    fn tell_written_off(&self, kind: &'static str, run: &Run) {
        run.0.context.run(|| {
            tracing::error!(
                target: "steadfast::jobs",
                job = run.0.id.0,
                kind,
                term = run.0.term,
                written_off = self.written_off,
                "a handler did not end although its time is up and it was told to; its permit is written off"
            );
        });
        let what = What::WrittenOff;
        self.tally.tell(what.index(), || JobEvent {
            id: run.id(),
            kind: kind.into(),
            attempt: run.attempt(),
            term: run.term(),
            what,
        });
    }

    /// Hands back what has waited for a permit for too long, and claims none ahead until it is seen anew how
    /// fast they end: by the pace of before, it would have the same jobs again at once.
    fn hand_back_idle(&mut self, now: u64) {
        let before = self.back.len();
        for index in 0..self.queues.len() {
            // The oldest are not in front: suspects are put there.
            for _ in 0..self.queues[index].ready.len() {
                let Some(job) = self.queues[index].ready.pop_front() else {
                    break;
                };
                if now.saturating_sub(job.since) < nanos(READY_MAX) {
                    self.queues[index].ready.push_back(job);
                    continue;
                }
                self.give_back(now, index, released(job.id, job.term));
            }
        }
        if self.back.len() > before {
            self.pace = Pace::new();
        }
    }

    /// Counts a permit that is written off; tells whether a spare takes its place: up to half of all.
    fn spare(&mut self) -> bool {
        self.written_off += 1;
        let permits: usize = self.queues.iter().map(|queue| queue.permits).sum();
        self.written_off <= (permits / 2).max(1)
    }

    /// Gives up a run whose handler does not end: its job goes on elsewhere, its permit is lost as
    /// long as the handler holds it, and a spare takes its place, up to half of all permits.
    pub(super) fn write_off(&mut self, now: u64, id: i64) {
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        flight.run.0.alone.leave();
        let spare = self.spare();
        if spare {
            self.queues[flight.queue].running -= 1;
        }
        let stray = Stray {
            queue: flight.queue,
            kind: flight.kind.name,
            run: flight.run.clone(),
            offers: false,
            permit: !spare,
            written_off: true,
            over: now,
            write_off_after: write_off_after(&flight.kind),
        };
        let key = (id, flight.run.0.term);
        self.legacy.strays.insert(key, stray);
        self.tell_written_off(flight.kind.name, &flight.run);
        let finished = Finished {
            kind: flight.kind.name,
            attempt: flight.run.attempt(),
            context: flight.run.0.context,
            ..released(id, flight.run.0.term)
        };
        let cancelled = matches!(
            flight.cancel.cause(),
            Some(Cause::Requested(by)) if by.as_str() == CANCELLED_BY
        );
        let finished = if cancelled {
            Finished {
                follow: Follow::Stop,
                ..finished
            }
        } else if self.stopping {
            finished
        } else {
            let last = flight.run.attempt() >= flight.run.max_attempts();
            let again = Follow::Retry(Duration::from_secs(1));
            Finished {
                follow: if last { Follow::Discard } else { again },
                error: Some("its handler did not end when its time was up".into()),
                ..finished
            }
        };
        self.settle(now, &flight, finished);
    }

    /// Takes notice that the job of a run is not ours any more; its end is offered to the store if it goes on.
    fn go_astray(&mut self, now: u64, flight: Flight, goes_on: bool) {
        self.tell(&flight, What::LeaseLost);
        let write_off_after = write_off_after(&flight.kind);
        flight.run.0.lost.cancel(Cause::LeaseLost);
        let over = if goes_on {
            flight.over
        } else {
            flight.cancel.cancel(Cause::LeaseLost);
            flight.over.min(now + write_off_after)
        };
        let stray = Stray {
            queue: flight.queue,
            kind: flight.kind.name,
            run: flight.run.clone(),
            offers: goes_on,
            permit: true,
            written_off: false,
            write_off_after,
            over,
        };
        let key = (flight.run.0.id.0, flight.run.0.term);
        self.legacy.strays.insert(key, stray);
    }

    /// Ends after the lease is lost. Handlers have been told by their token. What has ended well is
    /// offered to the store once more, which takes what nobody has rescued yet.
    pub(super) async fn lose(&mut self, under_way: Option<Operation>) {
        let now = clock::nanos();
        for flight in std::mem::take(&mut self.flights).into_values() {
            let goes_on = flight.kind.on_lease_lost == OnLeaseLost::Continue;
            self.go_astray(now, flight, goes_on);
        }
        if let Some(under_way) = under_way {
            self.hear(under_way).await;
        }
        self.try_locked(now);
        for finished in std::mem::take(&mut self.back) {
            self.lose_end(self.incarnation, finished);
        }
        let perhaps = std::mem::take(&mut self.perhaps);
        let late = perhaps.into_iter().map(|(_, finished)| finished);
        for finished in late.chain(std::mem::take(&mut self.done)) {
            self.tell_lost(&finished);
            self.legacy.late.push((self.incarnation, finished));
        }
        // What is left of them the next life goes on with.
        if !self.legacy.late.is_empty() {
            let last = self.offer_late();
            self.hear(last).await;
        }
    }

    /// Hears what the store has to say, if it says it in time. If not, ends that were sent are ours again.
    async fn hear(&mut self, mut operation: Operation) {
        let mut told = clock::timeout(LAST_WORD, &mut operation).await;
        if told.is_err() {
            self.hurry.cancel(Cause::LeaseLost);
            // What sends ends has come to its end by this; nothing is lost with others.
            told = clock::timeout(Duration::ZERO, &mut operation).await;
        }
        if let Ok(outcome) = told {
            self.apply(clock::nanos(), outcome);
        }
    }

    /// Tells how a run has ended, now that the store knows.
    pub(super) fn tell_end(&self, finished: &Finished) {
        finished.context.run(|| log_end(finished));
        self.tally.tell(what(finished).index(), || JobEvent {
            id: JobId(finished.id),
            kind: finished.kind.into(),
            attempt: finished.attempt,
            term: finished.term.unsigned_abs(),
            what: what(finished),
        });
    }

    pub(super) fn tell(&self, flight: &Flight, what: What) {
        self.tally.tell(what.index(), || JobEvent {
            id: flight.run.id(),
            kind: flight.kind.name.into(),
            attempt: flight.run.attempt(),
            term: flight.run.term(),
            what,
        });
    }
}

fn log_end(finished: &Finished) {
    let error = finished.error.as_deref().unwrap_or_default();
    match finished.follow {
        Follow::Nothing => tracing::warn!(
            target: "steadfast::jobs",
            job = finished.id,
            kind = finished.kind,
            term = finished.term,
            "the lease of a job was lost: what this run did does not count"
        ),
        Follow::Discard => tracing::error!(
            target: "steadfast::jobs",
            job = finished.id,
            kind = finished.kind,
            attempt = finished.attempt,
            error = %error,
            "a job is discarded: it failed for the last time"
        ),
        Follow::Retry(wait) => tracing::warn!(
            target: "steadfast::jobs",
            job = finished.id,
            kind = finished.kind,
            attempt = finished.attempt,
            error = %error,
            wait_s = wait.as_secs_f64(),
            "a job failed and is tried again"
        ),
        Follow::Complete | Follow::Snooze(_) | Follow::Release | Follow::Stop => {}
    }
}

type BoxedText = Box<dyn std::error::Error + Send + Sync>;

fn what(finished: &Finished) -> What {
    let error = || Arc::from(finished.error.as_deref().unwrap_or_default());
    what_of(finished.follow, &error)
}

/// What an end would have made of the job.
pub(super) fn wanted(finished: &Finished) -> &'static str {
    what(finished).as_str()
}

fn what_of(follow: Follow, error: &dyn Fn() -> Arc<str>) -> What {
    match follow {
        Follow::Complete => What::Completed,
        Follow::Discard => What::Discarded { error: error() },
        Follow::Retry(after) => What::Retried {
            after,
            error: error(),
        },
        Follow::Snooze(after) => What::Snoozed { after },
        Follow::Release => What::Released,
        Follow::Stop => What::Cancelled,
        Follow::Nothing => What::LeaseLost,
    }
}

pub(super) fn released(id: i64, term: i64) -> Finished {
    Finished {
        id,
        term,
        kind: "",
        attempt: 0,
        context: Context::new(),
        follow: Follow::Release,
        error: None,
        result: None,
        settled: settled::NO,
        locked: 0,
    }
}
