//! The heart of a worker: one task that owns what the node holds, and the one connection through
//! which jobs change hands.
//!
//! Everything comes together here, so that nothing has to be locked: runs that have ended, in a
//! channel; permits; jobs that are claimed and not started. One operation of the store is under way
//! at a time. What ends meanwhile is in the next one, so that a slow flush makes larger batches and
//! not a longer queue. Many ends and a large claim are one operation all the same, of two statements
//! side by side.
//!
//! 1. A job is in exactly one of `ready`, `flights`, `done`, `back` and `locked` from the claim on until
//!    the store has told its end.
//! 2. After an operation whose outcome is not known, the next one finds out, before anything else:
//!    which ends have been noted, and what was claimed without our knowing.

mod held;
mod next;
mod operation;
mod outcome;
mod runs;
#[cfg(all(test, feature = "sqlite", feature = "test-util"))]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use steadfast_core::{Cancel, Cause, clock};
use steadfast_store::Lane;
use tokio::sync::mpsc;

use super::execute::{CANCELLED_BY, Finished, bounded};
use super::{Settings, Tally};
use crate::Jobs;
use crate::decide::floor::Floor;
use crate::decide::pace::Pace;
use crate::decide::poll::Poll;
use crate::decide::retry::Follow;
use crate::decide::turn::Turn;
use crate::wake::is_from_start;
pub(crate) use held::Legacy;
use held::{Flight, Queue};
use operation::Operation;
use runs::released;

/// How long the first end of a batch waits for others: 1 ms, a third of what a flush takes. Nothing
/// waits when no handler runs that could add to the batch.
const LINGER: Duration = Duration::from_millis(1);

/// How many ends go into one operation: 2,000, a few milliseconds of work for the store.
const ENDS_MAX: usize = 2_000;

/// How often a worker asks for a suspect while its process runs none: every second. There is none nearly always.
const SUSPECT_EVERY: Duration = Duration::from_secs(1);

/// How often handlers are looked at that should have ended, or given a sign: every second.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long after its cancellation a run must have ended before its permit is written off: so many
/// times what each of its cleanups has, 10 s unless a kind says otherwise.
const WRITE_OFF_AFTER: u32 = 2;

/// How long a job is held that was claimed and finds no permit: 30 s. Handlers that have turned slow
/// would keep it from nodes that have nothing to do.
pub(crate) const READY_MAX: Duration = Duration::from_secs(30);

/// How many rejected ends wait to be noted in the store: 1,000. The oldest are forgotten, and counted
/// all the same.
const REJECTED_MAX: usize = 1_000;

/// How long after the longest time of a statement nothing of what was given up can be under way any more: 1 s.
const SURELY_OVER: Duration = Duration::from_secs(1);

/// After how many failures in a row, or tries that found the row of a job locked, a worker that was told to stop leaves what it
/// holds to its lease: 3, some hundred milliseconds. Locks of a moment are over by then, such as those of a limit that is
/// being set.
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
    /// For ends, where many of them go beside a claim.
    second: Lane,
    tally: Arc<Tally>,
    incarnation: i64,
    /// Cancelled when the lease is lost; every run has a child of it.
    lost: Cancel,
    /// The token of runs that go on nevertheless; outlives this engine.
    beyond: Cancel,
    /// Cancelled when the store has not answered in time after that: what is under way ends, and gives back the ends
    /// that it was to tell.
    hurry: Cancel,
    queues: Vec<Queue>,
    /// Kinds that are held, and left out of what is claimed next.
    held: Vec<&'static str>,
    flights: HashMap<i64, Flight>,
    /// Ended, on the way into the history.
    done: Vec<Finished>,
    /// Ended, on the way back to work.
    back: Vec<Finished>,
    /// Ended, on one of these ways, and locked by somebody at the last try.
    locked: Vec<Finished>,
    /// When the next one is.
    locked_until: u64,
    /// Completed by their handlers, in transactions whose end is not known.
    perhaps: Vec<(Flight, Finished)>,
    /// Ends that leave a place free in a queue with limits, once the store knows of them: those of `done`, `back` and
    /// `locked`, and of what is under way.
    frees: HashMap<i64, usize>,
    /// What runs and is not ours any more, and what became of that.
    legacy: Legacy,
    /// When the first of `done` and `back` came.
    since: Option<u64>,
    pace: Pace,
    poll: Poll,
    next_poll: u64,
    /// Whether the last claim found as much as it wanted.
    more: bool,
    /// Whether something came in since the last claim was begun.
    woken: bool,
    /// Who had the last one.
    turn: Turn,
    /// Whether the outcome of the last operation is not known.
    uncertain: bool,
    /// When it is to be asked once more, although it was: what we gave up may have been done after that.
    ask_again: Option<u64>,
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
        (lost, beyond): (Cancel, Cancel),
        (to, legacy): (mpsc::UnboundedSender<Finished>, Legacy),
    ) -> Self {
        let strays = |queue| {
            let strays = legacy.strays.values();
            strays
                .filter(|stray| stray.permit && stray.queue == queue)
                .count()
        };
        let queues = settings.queues.iter().enumerate();
        let queues = queues.map(|(index, (name, permits))| Queue {
            name: name.clone(),
            permits: *permits,
            running: strays(index),
            ready: VecDeque::new(),
            floor: Floor::new(),
            limited: false,
            limits_are_new: false,
            poll: Poll::default(),
            next_poll: 0,
            next_suspect: 0,
            from_key: String::new(),
        });
        Self {
            queues: queues.collect(),
            written_off: legacy
                .strays
                .values()
                .filter(|stray| stray.written_off)
                .count(),
            lane: jobs.store().lane(),
            second: jobs.store().lane(),
            settings,
            jobs,
            tally,
            incarnation,
            lost,
            beyond,
            hurry: Cancel::new(),
            legacy,
            held: Vec::new(),
            flights: HashMap::new(),
            done: Vec::new(),
            back: Vec::new(),
            locked: Vec::new(),
            locked_until: 0,
            perhaps: Vec::new(),
            frees: HashMap::new(),
            since: None,
            pace: Pace::new(),
            poll: Poll::default(),
            next_poll: 0,
            more: false,
            woken: false,
            turn: Turn::Limited,
            // An engine before this one may have held something under the same incarnation.
            uncertain: true,
            ask_again: None,
            failures: 0,
            not_before: 0,
            stopping: false,
            to,
        }
    }

    /// Works until it is told to drain and holds nothing any more, or until its lease is lost; gives
    /// what the next one has to know.
    pub(crate) async fn run(
        mut self,
        ended: &mut mpsc::UnboundedReceiver<Finished>,
        mut orders: mpsc::UnboundedReceiver<Order>,
        drain: Cancel,
        stop: Cancel,
    ) -> (Exit, Legacy) {
        let mut woken = self.jobs.woken();
        let mut heard = *woken.borrow();
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
                self.start_ready(now);
            }
            if operation.is_none() {
                operation = self.next_operation(now, draining);
            }
            self.show();
            let given_up =
                self.stopping && self.flights.is_empty() && self.failures >= GIVE_UP_AFTER;
            if draining && operation.is_none() && (given_up || self.is_empty()) {
                return (Exit::Drained, self.legacy);
            }
            // What is due while an operation is under way has to wait for its end, not for a time.
            let wake_at = match operation {
                Some(_) => next_look,
                None => self.wake_at(now, draining).min(next_look),
            };
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
                    return (Exit::LeaseLost, self.legacy);
                }
                _ = ended.recv_many(&mut batch, ENDS_MAX) => {
                    self.note_ended(clock::nanos(), &mut batch);
                }
                outcome = under_way => {
                    operation = None;
                    self.apply(clock::nanos(), outcome);
                }
                Some(order) = orders.recv() => self.obey(order),
                _ = drain.cancelled(), if !draining => draining = true,
                _ = stop.cancelled(), if !self.stopping => self.stop(clock::nanos()),
                _ = woken.changed(), if !draining => {
                    let signal = *woken.borrow_and_update();
                    self.wake(signal.is_from_start(heard));
                    heard = signal;
                }
                words = pushed.next(), if !draining => self.wake(is_from_start(&words)),
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
        for stray in self.legacy.strays.values_mut() {
            stray.run.0.cancel.cancel(Cause::Shutdown);
            stray.over = stray.over.min(now + stray.write_off_after);
        }
    }

    /// Something may have come in, perhaps below where claims begin.
    fn wake(&mut self, from_start: bool) {
        let now = clock::nanos();
        if from_start {
            self.look_from_start(now);
        }
        self.poll.found();
        self.woken = true;
        for queue in &mut self.queues {
            queue.floor.wake(now);
            queue.poll.found();
            queue.ask_at(now);
        }
    }

    fn look_from_start(&mut self, now: u64) {
        for queue in &mut self.queues {
            queue.floor.look(now);
        }
    }

    /// A claim leaves what is of a held kind, and perhaps a floor above it: once it is held no more, that is looked for.
    fn note_held(&mut self, now: u64) {
        let held = self.settings.held_kinds();
        if self.held.iter().any(|kind| !held.contains(kind)) {
            self.look_from_start(now);
        }
        self.held = held;
    }

    fn obey(&mut self, order: Order) {
        let (id, term, reason) = match order {
            Order::Cancel { id, term, reason } => (id, term, reason),
            Order::Limited(names) => {
                for queue in &mut self.queues {
                    let limited = names.contains(&queue.name);
                    queue.limits_are_new = limited && (queue.limits_are_new || !queue.limited);
                    queue.limited = limited;
                }
                return;
            }
        };
        let now = clock::nanos();
        let flight = self.flights.get_mut(&id);
        if let Some(flight) = flight.filter(|flight| flight.run.0.term == term) {
            // Told again each second, and the time counts from the first.
            if flight.cancel.cancel(Cause::Requested(CANCELLED_BY.into())) {
                flight.over = flight.over.min(now + write_off_after(&flight.kind));
            }
            return;
        }
        for index in 0..self.queues.len() {
            let ready = &mut self.queues[index].ready;
            let place = ready
                .iter()
                .position(|job| (job.id, job.term) == (id, term));
            if place.and_then(|place| ready.remove(place)).is_some() {
                let stopped = Finished {
                    follow: Follow::Stop,
                    error: Some(bounded(reason)),
                    ..released(id, term)
                };
                return self.give_done(now, index, stopped);
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
            && self.locked.iter().all(|end| self.gives_up(end))
            && self.legacy.late.iter().all(|(_, end)| self.gives_up(end))
            && self.perhaps.is_empty()
            && self.legacy.strays.values().all(|stray| stray.written_off)
            && !self.uncertain
            && self.queues.iter().all(|queue| queue.ready.is_empty())
    }

    /// Tells whether an end is left to its lease: who has the row of its job locked may hang for ever.
    fn gives_up(&self, end: &Finished) -> bool {
        self.stopping && end.locked >= GIVE_UP_AFTER
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

/// Tells how long after it was told to end a run of a kind is written off.
pub(crate) fn write_off_after(kind: &crate::Kind) -> u64 {
    nanos(kind.cleanup_limit).saturating_mul(WRITE_OFF_AFTER.into())
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX / 4)
}
