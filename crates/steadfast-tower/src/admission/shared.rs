use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use steadfast_core::clock;
use steadfast_core::context::{Name, Tier};
use steadfast_core::decide::admission::{
    AdmissionConfig, AdmissionQueue, Gate, Leave, Next, Offer, Rejection, Ticket, Waiter,
};
use steadfast_core::decide::limit::{Limit, LimitConfig, Tally};
use steadfast_core::report::{Collector, MetricDoc, Source};
use tokio::sync::oneshot;

use super::ghost::Ghost;
use super::permit::Permit;
use super::place::Place;
use super::{InvalidAdmissionLayer, Permits, Refused};
use crate::keys::OwnKeys;
use crate::tier;

/// How many samples of the limit are collected before they are looked at: 64.
const SAMPLES: u32 = 64;

/// How long they are collected at most: 10 ms, so that windows end on time.
const SAMPLE_FOR: u64 = 10_000_000;

/// The weight of what is newest in the mean time of a request: an eighth.
const NEWEST: u32 = 3;

/// What a waiter is told.
pub(super) type Turn = Result<Permit, Refusal>;

/// Why it is not let in, with what was seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    pub(super) why: Rejection,
    pub(super) waiting: usize,
    pub(super) expected_wait_ns: u64,
    /// How long it has waited, if it had a place.
    pub(super) waited_ns: Option<u64>,
    /// The mean time of a request.
    pub(super) service_ns: u64,
    /// By which it was judged.
    pub(super) config: AdmissionConfig,
}

/// What was decided about a request that came.
pub(super) enum Entered {
    In(Permit),
    Waiting(Place),
    Out(Refusal),
    /// Served all the same.
    Past(Option<Ghost>),
}

/// The state of an admission.
pub(crate) struct Shared {
    pub(super) name: Name,
    gate: Gate,
    waiting: Mutex<Waiting>,
    learning: Learning,
    shadow: AtomicBool,
    /// The mean time of a request, in nanoseconds.
    service_ns: AtomicU64,
    admitted: [AtomicU64; Tier::COUNT],
    queued: [AtomicU64; Tier::COUNT],
    waited_ns: [AtomicU64; Tier::COUNT],
}

/// Those who wait, and how each of them is told.
struct Waiting {
    config: AdmissionConfig,
    queue: AdmissionQueue,
    tellers: HashMap<Ticket, oneshot::Sender<Turn>, OwnKeys>,
}

/// Finds the limit, where it is to be found.
struct Learning {
    is_on: AtomicBool,
    tally: Tally,
    limit: Mutex<Limit>,
    /// When the samples are looked at next, however few there are.
    next: AtomicU64,
}

/// What is to be told once the lock is released: a wake-up may call anything.
#[derive(Default)]
struct Told(Vec<(oneshot::Sender<Turn>, Turn)>);

impl Shared {
    pub(crate) fn new(
        name: Name,
        permits: Permits,
        config: AdmissionConfig,
    ) -> Result<Self, InvalidAdmissionLayer> {
        let (is_on, initial, limit) = match permits {
            Permits::Fixed(0) => return Err(Refused::Zero.into()),
            // Nothing is learned from it; it is there in case that changes.
            Permits::Fixed(limit) => (false, limit, Limit::new(LimitConfig::queued())),
            Permits::Learned(config) => (true, config.initial, Limit::new(config)),
        };
        let limit = limit.map_err(Refused::from)?;
        let queue = AdmissionQueue::new(config).map_err(Refused::from)?;
        Ok(Self {
            name,
            gate: Gate::new(initial),
            waiting: Mutex::new(Waiting {
                config,
                queue,
                tellers: HashMap::default(),
            }),
            learning: Learning {
                is_on: AtomicBool::new(is_on),
                tally: Tally::new(),
                limit: Mutex::new(limit),
                next: AtomicU64::new(0),
            },
            shadow: AtomicBool::new(false),
            service_ns: AtomicU64::new(0),
            admitted: Default::default(),
            queued: Default::default(),
            waited_ns: Default::default(),
        })
    }

    /// Says whether it only looks on.
    pub(crate) fn set_shadow(&self, shadow: bool) {
        self.shadow.store(shadow, Ordering::Relaxed);
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.shadow.load(Ordering::Relaxed)
    }

    /// Behaves by other numbers from now on. Whoever is in flight or waits stays so, and a limit
    /// that is learned goes on from where it was, as far as the new bounds allow.
    pub(crate) fn reconfigure(self: &Arc<Self>, permits: Permits, config: AdmissionConfig) {
        let mut waiting = self.waiting();
        // What is out of range was refused where the numbers came from.
        if waiting.queue.set_config(config).is_ok() {
            waiting.config = config;
        }
        drop(waiting);
        let limit = match permits {
            Permits::Fixed(limit) => {
                self.learning.is_on.store(false, Ordering::Relaxed);
                limit
            }
            Permits::Learned(config) => {
                let initial = self.gate.limit().clamp(config.min, config.max);
                let config = LimitConfig { initial, ..config };
                let Ok(limit) = Limit::new(config) else {
                    return;
                };
                let known = self.learning.limit.lock();
                *known.unwrap_or_else(PoisonError::into_inner) = limit;
                self.learning.is_on.store(true, Ordering::Relaxed);
                initial
            }
        };
        self.set_limit(limit, clock::nanos());
    }

    /// Decides about a request that comes `now`.
    pub(super) fn enter(
        self: &Arc<Self>,
        tier: Tier,
        deadline: Option<u64>,
        user: impl FnOnce() -> u64,
        now: u64,
    ) -> Entered {
        if self.gate.try_enter(tier) {
            return Entered::In(self.permit(tier, now));
        }
        let waiter = Waiter {
            user: user(),
            deadline: deadline.unwrap_or(u64::MAX),
            service_ns: self.service_ns.load(Ordering::Relaxed),
            ..Waiter::new(tier)
        };
        self.wait(waiter, now)
    }

    fn wait(self: &Arc<Self>, waiter: Waiter, now: u64) -> Entered {
        let mut told = Told::default();
        let mut waiting = self.waiting();
        let (queued, displaced) = match waiting.queue.offer(waiter, now) {
            Offer::Queued(queued) => (queued, None),
            Offer::Displacing(queued, displaced) => (queued, Some(displaced)),
            Offer::Rejected(why) => {
                let mut refusal = waiting.refusal(why, waiter.tier, now);
                refusal.service_ns = waiter.service_ns;
                return Entered::Out(refusal);
            }
        };
        if let Some(displaced) = displaced {
            let refusal = self.gave_up(&waiting, Rejection::Displaced, displaced, now);
            told.0.extend(waiting.teller(displaced, Err(refusal)));
        }
        self.queued[usize::from(waiter.tier.number())].fetch_add(1, Ordering::Relaxed);
        let (teller, turn) = oneshot::channel();
        waiting.tellers.insert(queued.ticket, teller);
        // Between the failed attempt and the lock the last one may have left.
        self.fill(&mut waiting, now, &mut told);
        drop(waiting);
        told.tell();
        Entered::Waiting(Place::new(self.clone(), queued, turn))
    }

    /// Takes a waiter out whose time is over or whose client is gone; gives why it is not let in,
    /// unless that was decided already.
    pub(super) fn give_up(&self, ticket: Ticket) -> Option<Refusal> {
        let mut waiting = self.waiting();
        if !waiting.queue.remove(ticket) {
            return None;
        }
        waiting.tellers.remove(&ticket);
        Some(self.gave_up(&waiting, Rejection::TooLate, ticket, clock::nanos()))
    }

    /// Says why somebody who had a place is not let in.
    fn gave_up(&self, waiting: &Waiting, why: Rejection, ticket: Ticket, now: u64) -> Refusal {
        Refusal {
            waited_ns: Some(now.saturating_sub(ticket.since())),
            service_ns: self.service_ns.load(Ordering::Relaxed),
            ..waiting.refusal(why, ticket.tier(), now)
        }
    }

    /// Takes a permit back.
    pub(super) fn leave(self: &Arc<Self>, tier: Tier) {
        if self.gate.leave(tier) == Leave::HandOver {
            let mut told = Told::default();
            let mut waiting = self.waiting();
            self.hand_over(&mut waiting, clock::nanos(), &mut told);
            drop(waiting);
            told.tell();
        }
    }

    /// Learns from a request that was admitted at `since` and ends now; `dropped` if something
    /// below had too much.
    pub(super) fn learn(self: &Arc<Self>, since: u64, dropped: bool) {
        let now = clock::nanos();
        let took = now.saturating_sub(since);
        self.note_service(took);
        let learning = &self.learning;
        if !learning.is_on.load(Ordering::Relaxed) {
            return;
        }
        let samples = learning.tally.record(took, self.gate.in_flight(), dropped);
        if let Some(limit) = learning.step(samples, now) {
            self.set_limit(limit, now);
        }
    }

    fn set_limit(self: &Arc<Self>, limit: u32, now: u64) {
        if limit == self.gate.limit() {
            return;
        }
        self.gate.set_limit(limit);
        let mut told = Told::default();
        let mut waiting = self.waiting();
        self.fill(&mut waiting, now, &mut told);
        drop(waiting);
        told.tell();
    }

    /// Hands permits over for as long as there is room and somebody waits.
    fn fill(self: &Arc<Self>, waiting: &mut Waiting, now: u64, told: &mut Told) {
        while !waiting.queue.is_empty() && self.gate.enter_or_wait() {
            self.hand_over(waiting, now, told);
        }
    }

    /// Hands one permit over to whoever is next, or returns it.
    fn hand_over(self: &Arc<Self>, waiting: &mut Waiting, now: u64, told: &mut Told) {
        loop {
            match waiting.queue.next(&self.gate, now) {
                Some(Next::Admit(ticket)) => {
                    let waited = now.saturating_sub(ticket.since());
                    self.waited_ns[usize::from(ticket.tier().number())]
                        .fetch_add(waited, Ordering::Relaxed);
                    let permit = self.permit(ticket.tier(), now);
                    told.0.extend(waiting.teller(ticket, Ok(permit)));
                    return;
                }
                Some(Next::TooLate(ticket)) => {
                    let refusal = self.gave_up(waiting, Rejection::TooLate, ticket, now);
                    told.0.extend(waiting.teller(ticket, Err(refusal)));
                }
                None => return self.gate.leave_idle(),
            }
        }
    }

    fn permit(self: &Arc<Self>, tier: Tier, now: u64) -> Permit {
        self.admitted[usize::from(tier.number())].fetch_add(1, Ordering::Relaxed);
        Permit::new(self.clone(), tier, now)
    }

    /// Two threads at once may lose a sample, which a mean does not notice.
    fn note_service(&self, took: u64) {
        let mean = self.service_ns.load(Ordering::Relaxed);
        let next = match mean {
            0 => took,
            mean => mean - (mean >> NEWEST) + (took >> NEWEST),
        };
        self.service_ns.store(next, Ordering::Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn refusal(&self, why: Rejection, tier: Tier, now: u64) -> Refusal {
        Refusal {
            why,
            waiting: self.queue.len(),
            config: self.config,
            waited_ns: None,
            service_ns: 0,
            expected_wait_ns: self.queue.expected_wait_ns(tier, now),
        }
    }

    fn teller(&mut self, ticket: Ticket, turn: Turn) -> Option<(oneshot::Sender<Turn>, Turn)> {
        Some((self.tellers.remove(&ticket)?, turn))
    }
}

impl Told {
    fn tell(self) {
        for (teller, turn) in self.0 {
            // Who is gone meanwhile gets a permit all the same, and its drop hands it on.
            drop(teller.send(turn));
        }
    }
}

impl Learning {
    /// Gives the limit from now on, if it is time for a step and no other thread is at it.
    fn step(&self, samples: u32, now: u64) -> Option<u32> {
        if samples < SAMPLES && now < self.next.load(Ordering::Relaxed) {
            return None;
        }
        let mut limit = match self.limit.try_lock() {
            Ok(limit) => limit,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.next.store(now + SAMPLE_FOR, Ordering::Relaxed);
        Some(limit.absorb(self.tally.take(), now))
    }
}

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_admission_limit",
        &["policy"],
        "Requests that may be in flight now: the permits, or what was learned.",
    ),
    MetricDoc::gauge(
        "steadfast_admission_in_flight",
        &["policy"],
        "Requests that are in flight.",
    ),
    MetricDoc::gauge(
        "steadfast_admission_waiting",
        &["policy", "tier"],
        "Requests that wait for a permit.",
    ),
    MetricDoc::counter(
        "steadfast_admission_admitted_total",
        &["policy", "tier"],
        "Requests that got a permit.",
    ),
    MetricDoc::counter(
        "steadfast_admission_queued_total",
        &["policy", "tier"],
        "Requests that found no permit and had to wait, whatever became of them.",
    ),
    MetricDoc::counter(
        "steadfast_admission_waited_seconds_total",
        &["policy", "tier"],
        "How long the requests have waited that had to wait and got a permit, all together.",
    ),
];

impl Source for Shared {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        to.labels([("policy", self.name)])
            .gauge("steadfast_admission_limit", f64::from(self.gate.limit()))
            .gauge(
                "steadfast_admission_in_flight",
                f64::from(self.gate.in_flight()),
            );
        let waiting = self.waiting();
        for number in 0..Tier::COUNT as u8 {
            let tier = Tier::new(number).expect("below the count");
            let admitted = self.admitted[usize::from(number)].load(Ordering::Relaxed);
            let depth = waiting.queue.len_of(tier);
            let queued = self.queued[usize::from(number)].load(Ordering::Relaxed);
            let waited_ns = self.waited_ns[usize::from(number)].load(Ordering::Relaxed);
            if admitted == 0 && queued == 0 {
                continue;
            }
            to.labels([("policy", self.name), ("tier", tier::label(tier))])
                .gauge("steadfast_admission_waiting", depth as f64)
                .counter("steadfast_admission_admitted_total", admitted)
                .counter("steadfast_admission_queued_total", queued)
                .sum(
                    "steadfast_admission_waited_seconds_total",
                    waited_ns as f64 / 1e9,
                );
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .field("limit", &self.gate.limit())
            .field("in_flight", &self.gate.in_flight())
            .finish_non_exhaustive()
    }
}
