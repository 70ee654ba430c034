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

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use steadfast_core::{Cancel, Cause, clock, rng};
use steadfast_store::{Dialect, Lane, Rows, Value, batch, binds};
use tokio::sync::{mpsc, watch};

use super::execute::{self, CANCELLED_BY, Finished, bounded, is_settled};
use super::run::{Inner, settled};
use super::{Kind, Run, Settings, Tally};
use crate::decide::crash::SUSPECT_FROM;
use crate::decide::pace::{Floor, Pace};
use crate::decide::poll::{FLOOR, Poll};
use crate::decide::retry::Follow;
use crate::event::{JobEvent, What};
use crate::job::micros;
use crate::{Error, JobId, Jobs, sql};

/// How long the first end of a batch waits for others: 1 ms, a third of what a flush takes. Nothing
/// waits when no handler runs that could add to the batch.
const LINGER: Duration = Duration::from_millis(1);

/// How many ends go into one operation: 2,000, a few milliseconds of work for the store.
const ENDS_MAX: usize = 2_000;

/// How often a node that runs no suspect asks for one: every second. There is none nearly always.
const SUSPECT_EVERY: Duration = Duration::from_secs(1);

/// How often handlers are looked at that should have ended, or given a sign: every second.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// For how many keys of a queue with limits it is looked whether they have room, at each claim: 200.
const UNBLOCK_KEYS: i64 = 200;

/// How long after its cancellation a run must have ended before its permit is written off: so many
/// times what each of its cleanups has, 10 s unless a kind says otherwise.
const WRITE_OFF_AFTER: u32 = 2;

/// After how many failures in a row a worker that was told to stop leaves what it holds to its lease:
/// 3, some hundred milliseconds.
const GIVE_UP_AFTER: u32 = 3;

/// How long the ends of runs are offered to the store after the lease is lost: 2 s.
const LAST_WORD: Duration = Duration::from_secs(2);

/// The first and the longest wait after an operation failed.
const FAILED_FIRST: Duration = Duration::from_millis(100);
const FAILED_LONGEST: Duration = Duration::from_secs(5);

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

/// What a node holds of one queue.
struct Queue {
    name: String,
    permits: usize,
    running: usize,
    ready: VecDeque<Claimed>,
    floor: Floor,
    /// Whether it has limits, and is claimed from by `claim_limited`.
    limited: bool,
    /// When that is next due, after how many answers without a job.
    poll: Poll,
    next_poll: u64,
    /// From which key on those held back are looked at.
    from_key: String,
}

impl Queue {
    fn has_room(&self) -> bool {
        self.running + self.ready.len() < self.permits
    }
}

/// A run under way.
struct Flight {
    queue: usize,
    kind: Arc<Kind>,
    run: Run,
    cancel: Cancel,
    suspect: bool,
    /// When it should have ended, whatever it does.
    over: u64,
}

/// A job that is ours.
struct Claimed {
    id: i64,
    term: i64,
    queue: usize,
    kind: Arc<Kind>,
    payload: String,
    spent: u32,
    max_attempts: u32,
    crashes: u32,
    rank_us: i64,
    trace_id: Option<String>,
}

type Operation = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What an operation of the store has told.
enum Outcome {
    Exchanged {
        sent: Vec<Finished>,
        asked: Vec<(usize, i64, usize)>,
        began: u64,
        told: Result<Told, Error>,
    },
    PutBack {
        sent: Vec<Finished>,
        told: Result<Vec<i64>, Error>,
    },
    Suspect(Result<Rows, Error>),
    Found(Result<Found, Error>),
    Limited {
        index: usize,
        told: Result<Limited, Error>,
    },
    Checked {
        asked: Vec<(Flight, Finished)>,
        told: Result<Vec<i64>, Error>,
    },
}

/// What a queue with limits has given.
#[derive(Default)]
struct Limited {
    claimed: Rows,
    suspect: Rows,
    /// From which key on those held back are looked at next; empty for the start.
    from_key: String,
}

/// What the books say: which ends are noted, and what we hold, as (id, term).
struct Found {
    ended: Vec<i64>,
    held: Vec<(i64, i64)>,
}

struct Told {
    lease: bool,
    ended: Vec<i64>,
    claimed: Vec<steadfast_store::Row>,
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
            if !draining {
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
                _ = drain.cancelled(), if !draining => {
                    draining = true;
                    self.hand_back();
                }
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

    // === what to do next ===

    /// Gives how many jobs each queue could take, with where to look for them.
    fn wants(&self, now: u64) -> Vec<(usize, i64, usize)> {
        let permits: usize = self.queues.iter().map(|queue| queue.permits).sum();
        let ahead = self.pace.ahead();
        let want = |(index, queue): (usize, &Queue)| {
            // What is held ahead is shared by the queues along their permits.
            let target = queue.permits + ahead * queue.permits / permits.max(1);
            let want = target.saturating_sub(queue.running + queue.ready.len());
            (want > 0 && !queue.limited).then(|| (index, queue.floor.from(now), want))
        };
        self.queues.iter().enumerate().filter_map(want).collect()
    }

    fn next_operation(&mut self, now: u64, draining: bool) -> Option<Operation> {
        if now < self.not_before {
            return None;
        }
        if self.uncertain {
            return Some(self.find_out());
        }
        if !self.perhaps.is_empty() {
            return Some(self.check_perhaps());
        }
        let urgent = self.flights.is_empty() || self.done.len() + self.back.len() >= ENDS_MAX;
        let due = self
            .since
            .is_some_and(|since| urgent || now >= since + nanos(LINGER));
        if due && !self.back.is_empty() {
            return Some(self.put_back());
        }
        let wants = if draining {
            Vec::new()
        } else {
            self.wants(now)
        };
        let held: usize = self
            .queues
            .iter()
            .map(|queue| queue.running + queue.ready.len())
            .sum();
        let wanted: usize = wants.iter().map(|(_, _, want)| want).sum();
        // While there is more, small claims would be many claims: they go along with the ends.
        let ask = self.woken || now >= self.next_poll || (self.more && wanted >= held);
        let claim = wanted > 0 && ask;
        if claim || (due && !self.done.is_empty()) {
            return Some(self.exchange(wants));
        }
        if let Some(queue) = self.limited_due(now).filter(|_| !draining) {
            return Some(self.claim_limited(queue));
        }
        if !draining && !self.suspect && now >= self.next_suspect {
            self.next_suspect = now + nanos(SUSPECT_EVERY);
            return Some(self.claim_suspect());
        }
        None
    }

    fn wake_at(&self, now: u64, draining: bool) -> u64 {
        let ends = self.since.map_or(u64::MAX, |since| since + nanos(LINGER));
        let polls = if draining {
            u64::MAX
        } else {
            let full = self.wants(now).is_empty();
            let claims = if self.woken { now } else { self.next_poll };
            let claims = if full { u64::MAX } else { claims };
            let suspects = if self.suspect {
                u64::MAX
            } else {
                self.next_suspect
            };
            claims.min(suspects).min(self.next_limited())
        };
        let next = ends.min(polls);
        let at_once = self.uncertain || !self.perhaps.is_empty();
        let next = if at_once { now } else { next };
        next.max(self.not_before)
    }

    // === operations ===

    fn exchange(&mut self, asked: Vec<(usize, i64, usize)>) -> Operation {
        let rest = self.done.split_off(self.done.len().min(ENDS_MAX));
        let sent = std::mem::replace(&mut self.done, rest);
        if self.done.is_empty() && self.back.is_empty() {
            self.since = None;
        }
        let began = clock::nanos();
        if !asked.is_empty() {
            self.woken = false;
        }
        // SQLite takes the queues one by one: each is a statement of the same transaction writer.
        let single = self.jobs.store().dialect() == Dialect::Sqlite;
        let parts: Vec<Vec<(usize, i64, usize)>> = if single && asked.len() > 1 {
            asked.iter().map(|part| vec![*part]).collect()
        } else {
            vec![asked.clone()]
        };
        let mut runs = Vec::new();
        // The ends go along with the first one.
        let mut first = Some(ends(&sent));
        for part in parts {
            let ends = first.take().unwrap_or_else(|| ends(&[]));
            runs.push(self.exchange_binds(ends, &part));
        }
        let lane = self.lane.clone();
        Box::pin(async move {
            let told = exchange(&lane, runs).await;
            Outcome::Exchanged {
                sent,
                asked,
                began,
                told,
            }
        })
    }

    fn exchange_binds(&self, ends: Value, asked: &[(usize, i64, usize)]) -> Vec<Value> {
        let names: Vec<String> = asked
            .iter()
            .map(|(index, _, _)| self.queues[*index].name.clone())
            .collect();
        let wants: Vec<i64> = asked.iter().map(|(_, _, want)| *want as i64).collect();
        let floors: Vec<i64> = asked.iter().map(|(_, floor, _)| *floor).collect();
        binds![
            ends,
            self.incarnation,
            batch![names, wants, floors],
            self.settings.kind_names(),
            self.settings.version
        ]
    }

    fn put_back(&mut self) -> Operation {
        let rest = self.back.split_off(self.back.len().min(ENDS_MAX));
        let sent = std::mem::replace(&mut self.back, rest);
        if self.done.is_empty() && self.back.is_empty() {
            self.since = None;
        }
        let column = |value: fn(&Finished) -> i64| -> Vec<i64> { sent.iter().map(value).collect() };
        let delays: Vec<i64> = sent.iter().map(|end| micros(delay(end.follow))).collect();
        let spent: Vec<bool> = sent
            .iter()
            .map(|end| matches!(end.follow, Follow::Retry(_)))
            .collect();
        let ended: Vec<bool> = sent
            .iter()
            .map(|end| matches!(end.follow, Follow::Retry(_) | Follow::Snooze(_)))
            .collect();
        let errors: Vec<Option<String>> = sent.iter().map(|end| end.error.clone()).collect();
        let binds = binds![
            batch![
                column(|end| end.id),
                column(|end| end.term),
                delays,
                spent,
                ended,
                errors
            ],
            self.incarnation
        ];
        let lane = self.lane.clone();
        Box::pin(async move {
            let told = async {
                let rows = lane.run(&sql::PUT_BACK, binds).await?;
                let ids: Result<Vec<i64>, _> = rows.iter().map(|row| row.get(0)).collect();
                Ok(ids?)
            };
            let told = told.await;
            Outcome::PutBack { sent, told }
        })
    }

    fn claim_suspect(&self) -> Operation {
        let names: Vec<String> = self
            .queues
            .iter()
            .filter(|queue| queue.running < queue.permits && !queue.limited)
            .map(|queue| queue.name.clone())
            .collect();
        let binds = binds![
            self.incarnation,
            names,
            self.settings.kind_names(),
            self.settings.version
        ];
        let lane = self.lane.clone();
        Box::pin(async move {
            let told = lane.run(&sql::CLAIM_SUSPECT, binds).await;
            Outcome::Suspect(told.map_err(Error::from))
        })
    }

    fn limited_due(&self, now: u64) -> Option<usize> {
        let due = |queue: &Queue| queue.limited && queue.has_room() && now >= queue.next_poll;
        self.queues.iter().position(due)
    }

    fn next_limited(&self) -> u64 {
        let queues = self.queues.iter();
        let polls = queues.filter(|queue| queue.limited && queue.has_room());
        polls.map(|queue| queue.next_poll).min().unwrap_or(u64::MAX)
    }

    /// Claims from a queue with limits: no more than can start at once, since what is held counts.
    fn claim_limited(&self, index: usize) -> Operation {
        let queue = &self.queues[index];
        let want = (queue.permits - queue.running - queue.ready.len()) as i64;
        let (name, from_key) = (queue.name.clone(), queue.from_key.clone());
        let (incarnation, version) = (self.incarnation, self.settings.version);
        let kinds = self.settings.kind_names();
        let alone = !self.suspect;
        let store = self.jobs.store().clone();
        Box::pin(async move {
            let claimed = store.write(async |mut tx| {
                let mut told = Limited {
                    from_key,
                    ..Limited::default()
                };
                let ours = tx.run(&sql::LOCK_LIMITED, binds![name.as_str()]).await?;
                if ours.is_empty() {
                    return Ok(told);
                }
                let from_key = std::mem::take(&mut told.from_key);
                let binds = binds![name.as_str(), from_key, UNBLOCK_KEYS];
                let rows = tx.run(&sql::UNBLOCK, binds).await?;
                told.from_key = rows.one()?.get::<Option<String>>(0)?.unwrap_or_default();
                let binds = binds![incarnation, name.as_str(), want, kinds.clone(), version];
                told.claimed = tx.run(&sql::CLAIM_LIMITED, binds).await?;
                if told.claimed.is_empty() && alone {
                    let binds = binds![incarnation, vec![name.clone()], kinds, version];
                    told.suspect = tx.run(&sql::CLAIM_SUSPECT, binds).await?;
                }
                Ok(told)
            });
            let told = claimed
                .await
                .map_err(|error: steadfast_store::Error| Error::from(error));
            Outcome::Limited { index, told }
        })
    }

    /// Asks which of our ends were noted, and what we hold by the books.
    fn find_out(&self) -> Operation {
        let ends = || self.done.iter().chain(&self.back);
        let ids: Vec<i64> = ends().map(|end| end.id).collect();
        let terms: Vec<i64> = ends().map(|end| end.term).collect();
        let incarnation = self.incarnation;
        let lane = self.lane.clone();
        Box::pin(async move {
            let found = async {
                let rows = lane.run(&sql::SETTLED, binds![batch![ids, terms]]).await?;
                let ended: Result<Vec<i64>, _> = rows.iter().map(|row| row.get(0)).collect();
                let rows = lane.run(&sql::HELD, binds![incarnation]).await?;
                let held: Result<Vec<(i64, i64)>, steadfast_store::Error> = rows
                    .iter()
                    .map(|row| Ok((row.get(0)?, row.get(1)?)))
                    .collect();
                Ok(Found {
                    ended: ended?,
                    held: held?,
                })
            };
            Outcome::Found(found.await)
        })
    }

    /// Asks which of the runs that their handlers have completed are in the history.
    fn check_perhaps(&mut self) -> Operation {
        let asked = std::mem::take(&mut self.perhaps);
        let ids: Vec<i64> = asked.iter().map(|(_, end)| end.id).collect();
        let terms: Vec<i64> = asked.iter().map(|(_, end)| end.term).collect();
        let lane = self.lane.clone();
        Box::pin(async move {
            let told = async {
                let rows = lane.run(&sql::SETTLED, binds![batch![ids, terms]]).await?;
                let ids: Result<Vec<i64>, _> = rows.iter().map(|row| row.get(0)).collect();
                Ok(ids?)
            };
            let told = told.await;
            Outcome::Checked { asked, told }
        })
    }

    // === what came of it ===

    fn apply(&mut self, now: u64, outcome: Outcome) {
        match outcome {
            Outcome::Exchanged {
                sent,
                asked,
                began,
                told: Ok(told),
            } => {
                self.failures = 0;
                if !told.lease && !asked.is_empty() {
                    // Our own clock did not see it: the one of the database rules.
                    self.lost.cancel(Cause::LeaseLost);
                }
                self.note_settled(sent, &told.ended);
                self.take(now, &asked, began, told.claimed);
            }
            Outcome::PutBack {
                sent,
                told: Ok(told),
            } => {
                self.failures = 0;
                self.note_settled(sent, &told);
            }
            Outcome::Exchanged {
                sent,
                told: Err(error),
                ..
            } => {
                self.done.extend(sent);
                self.failed(now, &error);
            }
            Outcome::PutBack {
                sent,
                told: Err(error),
            } => {
                self.back.extend(sent);
                self.failed(now, &error);
            }
            Outcome::Suspect(Ok(rows)) => {
                let suspects = rows.into_iter().filter_map(|row| self.claimed(&row, 0));
                let suspects: Vec<Claimed> = suspects.collect();
                for job in suspects {
                    self.suspect = true;
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
                told: Err(error), ..
            } => self.failed(now, &error),
            Outcome::Found(Ok(found)) => {
                self.failures = 0;
                self.uncertain = false;
                self.note_found(&found.ended, found.held);
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
            Outcome::Suspect(Err(error)) | Outcome::Found(Err(error)) => self.failed(now, &error),
        }
    }

    fn failed(&mut self, now: u64, error: &Error) {
        // Whatever the error says: asking again is cheap, and losing a job is not.
        self.uncertain = true;
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
    fn take(
        &mut self,
        now: u64,
        asked: &[(usize, i64, usize)],
        began: u64,
        rows: Vec<steadfast_store::Row>,
    ) {
        let mut found: Vec<Vec<Claimed>> = self.queues.iter().map(|_| Vec::new()).collect();
        for row in &rows {
            if let Some(job) = self.claimed(row, 1) {
                found[job.queue].push(job);
            }
        }
        if asked.is_empty() {
            return;
        }
        self.more = false;
        let (mut any, mut again) = (false, false);
        for (index, from, want) in asked {
            let mut jobs = std::mem::take(&mut found[*index]);
            // The store gives them in the order of its pages.
            jobs.sort_unstable_by_key(|job| (job.rank_us, job.id));
            let last = jobs.last().map(|job| job.rank_us);
            let took = now.saturating_sub(began);
            let queue = &mut self.queues[*index];
            queue
                .floor
                .claimed(now, *from, *want, jobs.len(), last, took);
            any |= !jobs.is_empty();
            self.more |= jobs.len() >= *want;
            // One that found too little above its floor looks from the start.
            again |= jobs.len() < *want && *from != i64::MIN;
            queue.ready.extend(jobs);
        }
        if any {
            self.poll.found();
        }
        self.next_poll = if again {
            now
        } else if any {
            // What comes in meanwhile wakes, and the ends of these jobs take the next ones along.
            now + nanos(FLOOR)
        } else {
            now + nanos(self.poll.nothing(rng::bits()))
        };
    }

    fn take_limited(&mut self, now: u64, index: usize, told: Limited) {
        let claimed = told.claimed.iter().filter_map(|row| self.claimed(row, 1));
        let mut jobs: Vec<Claimed> = claimed.collect();
        jobs.sort_unstable_by_key(|job| (job.rank_us, job.id));
        let suspects = told.suspect.iter().filter_map(|row| self.claimed(row, 0));
        let suspects: Vec<Claimed> = suspects.collect();
        self.suspect |= !suspects.is_empty();
        jobs.extend(suspects);
        let more = !jobs.is_empty() || !told.from_key.is_empty();
        let queue = &mut self.queues[index];
        queue.ready.extend(jobs);
        queue.from_key = told.from_key;
        let wait = if more {
            queue.poll.found();
            FLOOR
        } else {
            queue.poll.nothing(rng::bits())
        };
        queue.next_poll = now + nanos(wait);
    }

    /// Reads a claimed job; `skip` columns come before it.
    fn claimed(&self, row: &steadfast_store::Row, skip: usize) -> Option<Claimed> {
        let read = || -> Result<Option<Claimed>, steadfast_store::Error> {
            let (queue, kind): (&str, &str) = (row.get(skip + 2)?, row.get(skip + 3)?);
            let queue = self.queues.iter().position(|known| known.name == queue);
            let (Some(queue), Some(kind)) = (queue, self.settings.kinds.get(kind)) else {
                return Ok(None);
            };
            let count = |value: i64| u32::try_from(value).unwrap_or(0);
            Ok(Some(Claimed {
                id: row.get(skip)?,
                term: row.get(skip + 1)?,
                queue,
                kind: kind.clone(),
                payload: row.get(skip + 4)?,
                spent: count(row.get(skip + 5)?),
                max_attempts: count(row.get(skip + 6)?),
                crashes: count(row.get(skip + 7)?),
                rank_us: row.get(skip + 8)?,
                trace_id: row.get(skip + 9)?,
            }))
        };
        match read() {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::error!(target: "steadfast::jobs", %error, "a claimed job cannot be read");
                None
            }
        }
    }

    /// Starts what has a permit.
    fn start_ready(&mut self) {
        for index in 0..self.queues.len() {
            while self.queues[index].running < self.queues[index].permits {
                let Some(job) = self.queues[index].ready.pop_front() else {
                    break;
                };
                self.start(job);
            }
        }
    }

    fn start(&mut self, job: Claimed) {
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
    fn note_ended(&mut self, now: u64, batch: &mut Vec<Finished>) {
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

    /// Goes on with a run whose handler has completed it, now that the store has said whether that
    /// was committed.
    fn settle_checked(&mut self, now: u64, flight: Flight, mut finished: Finished, told: &[i64]) {
        if told.contains(&finished.id) {
            finished.settled = settled::YES;
        } else if finished.follow == Follow::Complete {
            // The effects are not there, so the job must not be completed.
            finished.follow = Follow::Retry(Duration::from_secs(1));
            finished.error = Some("completed in a transaction that was not committed".into());
        }
        self.settle(now, &flight, finished);
    }

    /// Puts the end of a run on its way to the store.
    fn settle(&mut self, now: u64, flight: &Flight, mut finished: Finished) {
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

    /// Takes notice of what the store says of the ends that were sent.
    fn note_settled(&mut self, sent: Vec<Finished>, known: &[i64]) {
        let all = sent.len() == known.len();
        let known: HashSet<i64> = if all {
            HashSet::new()
        } else {
            known.iter().copied().collect()
        };
        for mut finished in sent {
            if !all && !known.contains(&finished.id) {
                finished.follow = Follow::Nothing;
            }
            self.tell_end(&finished);
        }
    }

    /// Tells how a run has ended, now that the store knows.
    fn tell_end(&self, finished: &Finished) {
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

    /// Puts right what an operation without a known outcome has left.
    fn note_found(&mut self, ended: &[i64], held: Vec<(i64, i64)>) {
        let (known, open) = std::mem::take(&mut self.done)
            .into_iter()
            .partition(|end| ended.contains(&end.id));
        self.done = open;
        let known: Vec<Finished> = known;
        for finished in &known {
            self.tell_end(finished);
        }
        let books: HashMap<i64, i64> = held.iter().copied().collect();
        // What was put back is pending by now, or another's.
        let (open, gone) = std::mem::take(&mut self.back)
            .into_iter()
            .partition(|end| books.get(&end.id) == Some(&end.term));
        self.back = open;
        let gone: Vec<Finished> = gone;
        for finished in &gone {
            self.tell_end(finished);
        }
        let known = |id: i64, term: i64| {
            self.flights
                .get(&id)
                .is_some_and(|flight| flight.run.0.term == term)
                || self
                    .done
                    .iter()
                    .chain(&self.back)
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

    // === from outside ===

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

    /// Looks at handlers that should have given a sign, or ended.
    fn look(&mut self, now: u64) {
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
    fn write_off(&mut self, now: u64, id: i64) {
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
    async fn lose(&mut self, under_way: Option<Operation>) {
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

    fn tell(&self, flight: &Flight, what: What) {
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

fn released(id: i64, term: i64) -> Finished {
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

fn delay(follow: Follow) -> Duration {
    match follow {
        Follow::Retry(wait) | Follow::Snooze(wait) => wait,
        Follow::Complete | Follow::Discard | Follow::Release | Follow::Stop | Follow::Nothing => {
            Duration::ZERO
        }
    }
}

fn ends(sent: &[Finished]) -> Value {
    let states: Vec<String> = sent
        .iter()
        .map(|end| match end.follow {
            Follow::Discard => "discarded".to_owned(),
            Follow::Stop => "cancelled".to_owned(),
            _ => "completed".to_owned(),
        })
        .collect();
    let ids: Vec<i64> = sent.iter().map(|end| end.id).collect();
    let terms: Vec<i64> = sent.iter().map(|end| end.term).collect();
    let errors: Vec<Option<String>> = sent.iter().map(|end| end.error.clone()).collect();
    let results: Vec<Option<String>> = sent.iter().map(|end| end.result.clone()).collect();
    batch![ids, terms, states, errors, results]
}

async fn exchange(lane: &Lane, runs: Vec<Vec<Value>>) -> Result<Told, Error> {
    let mut told = Told {
        lease: false,
        ended: Vec::new(),
        claimed: Vec::new(),
    };
    for binds in runs {
        for row in lane.run(&sql::EXCHANGE, binds).await? {
            match row.get::<i64>(0)? {
                0 => told.lease = row.get::<i64>(1)? > 0,
                1 => told.ended.push(row.get(1)?),
                _ => told.claimed.push(row),
            }
        }
    }
    Ok(told)
}

fn write_off_after(kind: &Kind) -> u64 {
    nanos(kind.cleanup_limit).saturating_mul(WRITE_OFF_AFTER.into())
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX / 4)
}
