//! Runs, from their start until the store knows how they ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use steadfast_core::{Cause, clock};

use super::held::{Claimed, Flight};
use super::operation::{Operation, ends, exchange};
use super::{Engine, nanos, write_off_after};
use crate::JobId;
use crate::decide::crash::SUSPECT_FROM;
use crate::decide::retry::Follow;
use crate::event::{JobEvent, What};
use crate::worker::Run;
use crate::worker::execute::{self, Finished, is_settled};
use crate::worker::run::{Inner, settled};

/// How long the ends of runs are offered to the store after the lease is lost: 2 s.
const LAST_WORD: Duration = Duration::from_secs(2);

impl Engine {
    /// Starts what has a permit.
    pub(super) fn start_ready(&mut self) {
        for index in 0..self.queues.len() {
            while self.queues[index].running < self.queues[index].permits {
                let Some(job) = self.queues[index].ready.pop_front() else {
                    break;
                };
                self.start(job);
            }
        }
    }

    pub(super) fn start(&mut self, job: Claimed) {
        let now = clock::nanos();
        let cancel = self.lost.child();
        let run = Run(Arc::new(Inner {
            id: JobId(job.id),
            term: job.term,
            incarnation: self.incarnation,
            spent: job.spent,
            max_attempts: job.max_attempts,
            crashes: job.crashes,
            cancel: cancel.clone(),
            beat_ns: AtomicU64::new(now),
            settled: AtomicU8::new(settled::NO),
        }));
        let flight = Flight {
            queue: job.queue,
            kind: job.kind.clone(),
            run: run.clone(),
            cancel,
            suspect: job.crashes >= u32::from(SUSPECT_FROM),
            over: now + nanos(job.kind.timeout) + write_off_after(&job.kind),
        };
        self.tell(&flight, What::Started);
        self.queues[job.queue].running += 1;
        self.flights.insert(job.id, flight);
        execute::start(
            job.kind,
            run,
            job.payload,
            job.trace_id.as_deref(),
            self.to.clone(),
        );
    }

    /// Takes notice of runs that have ended.
    pub(super) fn note_ended(&mut self, now: u64, batch: &mut Vec<Finished>) {
        let busy = self
            .queues
            .iter()
            .any(|queue| queue.running == queue.permits);
        self.pace.ended(now, batch.len(), busy);
        for finished in batch.drain(..) {
            // One that was written off has been told about already.
            let ours = self.flights.get(&finished.id);
            if ours.is_none_or(|flight| flight.run.0.term != finished.term) {
                continue;
            }
            let Some(flight) = self.flights.remove(&finished.id) else {
                continue;
            };
            let queue = &mut self.queues[flight.queue];
            queue.running -= 1;
            // Its place is free once the store knows of the end, which goes first.
            queue.next_poll = if queue.limited { now } else { queue.next_poll };
            self.suspect &= !flight.suspect;
            if finished.settled == settled::PERHAPS {
                self.perhaps.push((flight, finished));
            } else {
                self.settle(now, &flight, finished);
            }
        }
    }

    /// Puts the end of a run on its way to the store.
    pub(super) fn settle(&mut self, now: u64, flight: &Flight, mut finished: Finished) {
        if is_settled(&finished) {
            finished.follow = Follow::Complete;
            self.tell_end(&finished);
            return;
        }
        match finished.follow {
            Follow::Complete | Follow::Discard | Follow::Stop => self.done.push(finished),
            Follow::Retry(_) if flight.run.attempt() >= flight.run.max_attempts() => {
                finished.follow = Follow::Discard;
                self.done.push(finished);
            }
            Follow::Retry(_) | Follow::Snooze(_) | Follow::Release => self.back.push(finished),
            Follow::Nothing => {
                self.tell_end(&finished);
                return;
            }
        }
        self.since.get_or_insert(now);
    }

    /// Looks at handlers that should have given a sign, or ended.
    pub(super) fn look(&mut self, now: u64) {
        let mut over = Vec::new();
        for (id, flight) in &self.flights {
            if let Some(every) = flight.kind.beat_every {
                let silent = now.saturating_sub(flight.run.0.beat_ns.load(Ordering::Relaxed));
                if silent > nanos(every).saturating_mul(3) {
                    let stuck = format!("stuck: no sign of progress for three times {every:?}");
                    flight
                        .cancel
                        .cancel(Cause::Other(Arc::from(BoxedText::from(stuck))));
                }
            }
            if now >= flight.over {
                over.push(*id);
            }
        }
        for id in over {
            self.write_off(now, id);
        }
    }

    /// Gives up a run whose handler does not end: its job goes on elsewhere, its permit is lost as
    /// long as the handler holds it, and a spare takes its place, up to half of all permits.
    pub(super) fn write_off(&mut self, now: u64, id: i64) {
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        self.written_off += 1;
        self.suspect &= !flight.suspect;
        let permits: usize = self.queues.iter().map(|queue| queue.permits).sum();
        if self.written_off <= (permits / 2).max(1) {
            self.queues[flight.queue].running -= 1;
        }
        tracing::error!(
            target: "steadfast::jobs",
            job = id,
            kind = flight.kind.name,
            term = flight.run.term(),
            written_off = self.written_off,
            "a handler did not end although its time is up and it was told to; its permit is written off"
        );
        self.tell(&flight, What::WrittenOff);
        let finished = Finished {
            kind: flight.kind.name,
            attempt: flight.run.attempt(),
            ..released(id, flight.run.0.term)
        };
        let finished = if self.stopping {
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

    /// Ends after the lease is lost. Handlers have been told by their token. What has ended well is
    /// offered to the store once more, which takes what nobody has rescued yet.
    pub(super) async fn lose(&mut self, under_way: Option<Operation>) {
        for flight in self.flights.values() {
            self.tell(flight, What::LeaseLost);
        }
        if let Some(under_way) = under_way
            && let Ok(outcome) = clock::timeout(LAST_WORD, under_way).await
        {
            self.apply(clock::nanos(), outcome);
        }
        if !self.done.is_empty() {
            let binds = self.exchange_binds(ends(&self.done), &[]);
            let last = exchange(&self.lane, vec![binds]);
            if let Ok(Ok(told)) = clock::timeout(LAST_WORD, last).await {
                let sent = std::mem::take(&mut self.done);
                self.note_settled(sent, &told.ended);
            }
        }
        let perhaps = std::mem::take(&mut self.perhaps);
        let rest = self.done.drain(..).chain(self.back.drain(..));
        let rest = rest.chain(perhaps.into_iter().map(|(_, finished)| finished));
        for mut finished in rest.collect::<Vec<_>>() {
            finished.follow = Follow::Nothing;
            self.tell_end(&finished);
        }
    }

    /// Tells how a run has ended, now that the store knows.
    pub(super) fn tell_end(&self, finished: &Finished) {
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

type BoxedText = Box<dyn std::error::Error + Send + Sync>;

fn what(finished: &Finished) -> What {
    let error = || Arc::from(finished.error.as_deref().unwrap_or_default());
    what_of(finished.follow, &error)
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
        follow: Follow::Release,
        error: None,
        result: None,
        settled: settled::NO,
    }
}
