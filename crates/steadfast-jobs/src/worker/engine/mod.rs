//! The heart of a worker: one task that owns what the node holds, and the one connection through
//! which jobs change hands.
//!
//! Everything comes together here, so that nothing has to be locked: runs that have ended, in a
//! channel; permits; jobs that are claimed and not started. One operation of the store is under way
//! at a time. What ends meanwhile is in the next one, so that a slow flush makes larger batches and
//! not a longer queue.
//!
//! 1. A job is in exactly one of `ready`, `flights`, `done` and `back` from the claim on until the
//!    store has told its end.
//! 2. After an operation whose outcome is not known, the next one finds out, before anything else:
//!    which ends have been noted, and what was claimed without our knowing.

mod held;
mod next;
mod operation;
mod outcome;
mod runs;

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use steadfast_core::{Cancel, Cause, clock};
use steadfast_store::Lane;
use tokio::sync::{mpsc, watch};

use super::execute::{CANCELLED_BY, Finished, bounded};
use super::{Settings, Tally};
use crate::Jobs;
use crate::decide::crash::SUSPECT_FROM;
use crate::decide::pace::{Floor, Pace};
use crate::decide::poll::Poll;
use crate::decide::retry::Follow;
use held::{Flight, Queue};
use operation::Operation;
use runs::released;

/// How long the first end of a batch waits for others: 1 ms, a third of what a flush takes. Nothing
/// waits when no handler runs that could add to the batch.
const LINGER: Duration = Duration::from_millis(1);

/// How many ends go into one operation: 2,000, a few milliseconds of work for the store.
const ENDS_MAX: usize = 2_000;

/// How often a node that runs no suspect asks for one: every second. There is none nearly always.
const SUSPECT_EVERY: Duration = Duration::from_secs(1);

/// How often handlers are looked at that should have ended, or given a sign: every second.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long after its cancellation a run must have ended before its permit is written off: so many
/// times what each of its cleanups has, 10 s unless a kind says otherwise.
const WRITE_OFF_AFTER: u32 = 2;

/// After how many failures in a row a worker that was told to stop leaves what it holds to its lease:
/// 3, some hundred milliseconds.
const GIVE_UP_AFTER: u32 = 3;

/// What an engine is told from outside.
#[derive(Debug)]
pub(crate) enum Order {
    /// Somebody wants this run to stop.
    Cancel { id: i64, term: i64, reason: String },
    /// These queues have limits.
    Limited(Vec<String>),
}

/// Why an engine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was told to, and holds nothing any more.
    Drained,
    /// Its lease is lost.
    LeaseLost,
}

pub(crate) struct Engine {
    settings: Arc<Settings>,
    jobs: Jobs,
    lane: Lane,
    tally: Arc<Tally>,
    incarnation: i64,
    /// Cancelled when the lease is lost; every run has a child of it.
    lost: Cancel,
    queues: Vec<Queue>,
    flights: HashMap<i64, Flight>,
    /// Ended, on the way into the history.
    done: Vec<Finished>,
    /// Ended, on the way back to work.
    back: Vec<Finished>,
    /// Completed by their handlers, in transactions whose end is not known.
    perhaps: Vec<(Flight, Finished)>,
    /// When the first of `done` and `back` came.
    since: Option<u64>,
    pace: Pace,
    poll: Poll,
    next_poll: u64,
    /// Whether the last claim found as much as it wanted.
    more: bool,
    /// Whether something came in since the last claim was begun.
    woken: bool,
    suspect: bool,
    next_suspect: u64,
    /// Whether the outcome of the last operation is not known.
    uncertain: bool,
    failures: u32,
    /// No operation before this.
    not_before: u64,
    written_off: usize,
    /// Whether handlers have been told to end because the process goes down.
    stopping: bool,
    to: mpsc::UnboundedSender<Finished>,
}

impl Engine {
    pub(crate) fn new(
        settings: Arc<Settings>,
        jobs: Jobs,
        tally: Arc<Tally>,
        incarnation: i64,
        lost: Cancel,
    ) -> (Self, mpsc::UnboundedReceiver<Finished>) {
        let (to, from) = mpsc::unbounded_channel();
        let queues = settings.queues.iter().map(|(name, permits)| Queue {
            name: name.clone(),
            permits: *permits,
            running: 0,
            ready: VecDeque::new(),
            floor: Floor::new(),
            limited: false,
            poll: Poll::default(),
            next_poll: 0,
            from_key: String::new(),
        });
        let engine = Self {
            queues: queues.collect(),
            lane: jobs.store().lane(),
            settings,
            jobs,
            tally,
            incarnation,
            lost,
            flights: HashMap::new(),
            done: Vec::new(),
            back: Vec::new(),
            perhaps: Vec::new(),
            since: None,
            pace: Pace::new(),
            poll: Poll::default(),
            next_poll: 0,
            more: false,
            woken: false,
            suspect: false,
            next_suspect: 0,
            // An engine before this one may have held something under the same incarnation.
            uncertain: true,
            failures: 0,
            not_before: 0,
            written_off: 0,
            stopping: false,
            to,
        };
        (engine, from)
    }

    /// Works until it is told to drain and holds nothing any more, or until its lease is lost.
    pub(crate) async fn run(
        mut self,
        mut ended: mpsc::UnboundedReceiver<Finished>,
        mut orders: mpsc::UnboundedReceiver<Order>,
        drain: Cancel,
        stop: Cancel,
    ) -> Exit {
        let mut woken: watch::Receiver<u64> = self.jobs.woken();
        let mut pushed = self.jobs.wakes();
        let mut operation: Option<Operation> = None;
        let mut batch = Vec::new();
        let mut draining = false;
        let mut next_look = clock::nanos() + nanos(LOOK_EVERY);
        loop {
            let now = clock::nanos();
            if now >= next_look {
                self.look(now);
                next_look = now + nanos(LOOK_EVERY);
            }
            // What a claim brings that was under way when the drain began goes back, too.
            if draining {
                self.hand_back();
            } else {
                self.start_ready();
            }
            if operation.is_none() {
                operation = self.next_operation(now, draining);
            }
            self.show();
            let given_up =
                self.stopping && self.flights.is_empty() && self.failures >= GIVE_UP_AFTER;
            if draining && operation.is_none() && (given_up || self.is_empty()) {
                return Exit::Drained;
            }
            let wake_at = self.wake_at(now, draining).min(next_look);
            let under_way = async {
                match &mut operation {
                    Some(operation) => operation.await,
                    None => pending().await,
                }
            };
            let lost = self.lost.clone();
            tokio::select! {
                _ = lost.cancelled() => {
                    self.lose(operation.take()).await;
                    return Exit::LeaseLost;
                }
                _ = ended.recv_many(&mut batch, ENDS_MAX) => {
                    self.note_ended(clock::nanos(), &mut batch);
                }
                outcome = under_way => {
                    operation = None;
                    self.apply(clock::nanos(), outcome);
                }
                order = orders.recv() => {
                    if let Some(order) = order {
                        self.obey(order);
                    }
                }
                _ = drain.cancelled(), if !draining => draining = true,
                _ = stop.cancelled(), if !self.stopping => self.stop(clock::nanos()),
                _ = woken.changed(), if !draining => self.wake(),
                _ = pushed.next(), if !draining => self.wake(),
                () = clock::sleep_until(clock::instant_at(wake_at)) => {}
            }
        }
    }

    /// The time to drain is up.
    fn stop(&mut self, now: u64) {
        self.stopping = true;
        for flight in self.flights.values_mut() {
            flight.cancel.cancel(Cause::Shutdown);
            flight.over = flight.over.min(now + write_off_after(&flight.kind));
        }
    }

    /// Something may have come in.
    fn wake(&mut self) {
        self.poll.found();
        self.woken = true;
        for queue in &mut self.queues {
            queue.poll.found();
            queue.next_poll = 0;
        }
    }

    fn obey(&mut self, order: Order) {
        let (id, term, reason) = match order {
            Order::Cancel { id, term, reason } => (id, term, reason),
            Order::Limited(names) => {
                for queue in &mut self.queues {
                    queue.limited = names.contains(&queue.name);
                }
                return;
            }
        };
        if let Some(flight) = self
            .flights
            .get(&id)
            .filter(|flight| flight.run.0.term == term)
        {
            flight.cancel.cancel(Cause::Requested(CANCELLED_BY.into()));
            return;
        }
        for queue in &mut self.queues {
            let place = queue
                .ready
                .iter()
                .position(|job| (job.id, job.term) == (id, term));
            if let Some(job) = place.and_then(|place| queue.ready.remove(place)) {
                self.suspect &= job.crashes < u32::from(SUSPECT_FROM);
                self.done.push(Finished {
                    follow: Follow::Stop,
                    error: Some(bounded(reason)),
                    ..released(id, term)
                });
                self.since.get_or_insert(clock::nanos());
                return;
            }
        }
    }

    /// Hands back what was claimed and not started.
    fn hand_back(&mut self) {
        for queue in &mut self.queues {
            for job in queue.ready.drain(..) {
                self.back.push(released(job.id, job.term));
            }
        }
        if !self.back.is_empty() {
            self.since.get_or_insert(0);
        }
    }

    fn is_empty(&self) -> bool {
        self.flights.is_empty()
            && self.done.is_empty()
            && self.back.is_empty()
            && self.perhaps.is_empty()
            && !self.uncertain
            && self.queues.iter().all(|queue| queue.ready.is_empty())
    }

    fn show(&self) {
        let ready = self.queues.iter().map(|queue| queue.ready.len()).sum();
        self.tally
            .running
            .store(self.flights.len(), Ordering::Relaxed);
        self.tally.ready.store(ready, Ordering::Relaxed);
        let permits = self.queues.iter().map(|queue| queue.permits).sum();
        self.tally.permits.store(permits, Ordering::Relaxed);
    }
}

fn write_off_after(kind: &crate::Kind) -> u64 {
    nanos(kind.cleanup_limit).saturating_mul(WRITE_OFF_AFTER.into())
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX / 4)
}
