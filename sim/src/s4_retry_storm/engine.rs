//! The event loop: clients that send, wait and retry, and a target that works.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use steadfast::decide::backoff::Backoff;
use steadfast::decide::budget::{
    Failed, Failure, Replay, RetryBudget, RetryCall, RetryDecision, RetryRule,
};

use super::{
    CAPACITY, CLIENT_TIMEOUT, Client, END, FAULT_FROM, FAULT_UNTIL, Fault, LEFT, MAX_ATTEMPTS,
    Report, Scenario, Server, Service,
};
use crate::rng::Rng;

const WORKERS: usize = 10;
const MEAN_SERVICE_NS: f64 = 10_000_000.0;

/// The most that wait at a protected target: what it serves in a tenth of a second.
const QUEUE: usize = 100;

/// The queue of a protected target stands when somebody has waited this long: a fifth of what a
/// client waits for.
const STANDING: u64 = 50_000_000;

/// A protected target starts nothing that has less time left than this: the mean of a service.
/// A request that misses its chance is answered at once.
const LEAST_TIME_LEFT: u64 = MEAN_SERVICE_NS as u64;

/// Runs a scenario to its end.
#[must_use]
pub fn run(scenario: &Scenario) -> Report {
    let mut run = Run::new(*scenario);
    run.at(0, Event::Arrive);
    run.at(nanos(FAULT_FROM), Event::Heal(false));
    run.at(nanos(FAULT_UNTIL), Event::Heal(true));
    while let Some(Reverse((now, _, event))) = run.events.pop() {
        // Attempts that are under way at the end are ended; nothing new comes.
        if now >= nanos(END) + 4 * nanos(CLIENT_TIMEOUT) {
            break;
        }
        run.now = now;
        run.handle(event);
    }
    run.report
}

/// One attempt of one request: both by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attempt {
    request: usize,
    number: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A new request comes, and the next one is drawn.
    Arrive,
    /// A client sends an attempt.
    Send(Attempt),
    /// A worker is done with an attempt, which it began at an instant.
    Done(Attempt, u64),
    /// A client has waited long enough for an attempt.
    GiveUp(Attempt),
    /// The fault begins, or ends.
    Heal(bool),
}

/// What the clients know about a request.
struct Request {
    came: u64,
    /// The attempt that is under way, or `None` when the request has ended or waits to retry.
    pending: Option<u8>,
}

struct Waiting {
    attempt: Attempt,
    deadline: u64,
}

struct Run {
    scenario: Scenario,
    now: u64,
    arrivals: Rng,
    services: Rng,
    waits: Rng,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    requests: Vec<Request>,
    queue: VecDeque<Waiting>,
    busy: usize,
    healthy: bool,
    rule: RetryRule,
    backoff: Backoff,
    budget: Option<RetryBudget>,
    report: Report,
}

impl Run {
    fn new(scenario: Scenario) -> Self {
        let budget = match scenario.client {
            Client::Budget(share) => Some(RetryBudget::new(share).expect("a share")),
            Client::Naive | Client::NaiveWithJitter => None,
        };
        let seed = |stream: u64| Rng::new(scenario.seed.wrapping_mul(1_000).wrapping_add(stream));
        Self {
            scenario,
            now: 0,
            // Each in a sequence of its own, so that all who compete see the same requests.
            arrivals: seed(1),
            services: seed(2),
            waits: seed(3),
            events: BinaryHeap::new(),
            sequence: 0,
            requests: Vec::new(),
            queue: VecDeque::new(),
            busy: 0,
            healthy: true,
            rule: RetryRule::new(MAX_ATTEMPTS).expect("within the bound"),
            backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(1))
                .expect("within the bounds"),
            budget,
            report: Report::new(),
        }
    }

    /// Events of one instant happen in the order in which they were made.
    fn at(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::Send(attempt) => self.send(attempt),
            Event::Done(attempt, began) => self.done(attempt, began),
            Event::GiveUp(attempt) => {
                if self.is_pending(attempt) {
                    self.failed(attempt, Failure::Unknown);
                }
            }
            Event::Heal(healthy) => {
                self.healthy = healthy;
                self.start_work();
            }
        }
    }

    // === Clients ===

    fn arrive(&mut self) {
        if self.now >= nanos(END) {
            return;
        }
        let request = self.requests.len();
        self.requests.push(Request {
            came: self.now,
            pending: None,
        });
        self.report.requested(self.now);
        self.send(Attempt { request, number: 1 });
        let gap = self.arrivals.exp(1e9 / (CAPACITY * self.scenario.load));
        self.at(self.now + gap as u64, Event::Arrive);
    }

    fn send(&mut self, attempt: Attempt) {
        let deadline = self.now + nanos(CLIENT_TIMEOUT);
        self.requests[attempt.request].pending = Some(attempt.number);
        self.report.attempted(self.now);
        self.at(deadline, Event::GiveUp(attempt));
        self.offer(Waiting { attempt, deadline });
    }

    fn is_pending(&self, attempt: Attempt) -> bool {
        self.requests[attempt.request].pending == Some(attempt.number)
    }

    fn answered(&mut self, attempt: Attempt) {
        if self.is_pending(attempt) {
            let request = &mut self.requests[attempt.request];
            request.pending = None;
            self.report.answered(request.came, self.now);
            if let Some(budget) = &mut self.budget {
                budget.count_success(self.now);
            }
        }
    }

    fn failed(&mut self, attempt: Attempt, failure: Failure) {
        self.requests[attempt.request].pending = None;
        let delay = match self.scenario.client {
            Client::Naive => Duration::ZERO,
            _ => {
                let random = self.waits.u64();
                self.backoff.delay(u32::from(attempt.number), random)
            }
        };
        let after = match &mut self.budget {
            None => (attempt.number < MAX_ATTEMPTS).then_some(delay),
            Some(budget) => {
                let decision = self.rule.decide(
                    &RetryCall::new(Replay::Safe),
                    &Failed::new(attempt.number, failure),
                    delay,
                    self.now,
                    &mut [budget],
                );
                match decision {
                    RetryDecision::Retry { after, .. } => Some(after),
                    RetryDecision::Stop(_) => None,
                }
            }
        };
        if let Some(after) = after {
            let next = Attempt {
                number: attempt.number + 1,
                ..attempt
            };
            self.at(self.now + nanos(after), Event::Send(next));
        }
    }

    // === The target ===

    fn offer(&mut self, waiting: Waiting) {
        self.queue.push_back(waiting);
        self.start_work();
        if self.scenario.server == Server::Protected && self.queue.len() > QUEUE {
            // Whoever waits longest would be served last.
            if let Some(shed) = self.queue.pop_front() {
                self.reject(shed);
            }
        }
    }

    fn start_work(&mut self) {
        while self.busy < self.workers() {
            let Some(next) = self.next() else {
                return;
            };
            self.busy += 1;
            let mut service = self.draw_service();
            if !self.healthy && self.scenario.fault == Fault::SlowerService {
                service /= LEFT;
            }
            self.at(
                self.now + service as u64,
                Event::Done(next.attempt, self.now),
            );
        }
    }

    fn next(&mut self) -> Option<Waiting> {
        match self.scenario.server {
            Server::Fifo => self.queue.pop_front(),
            Server::Protected => loop {
                let next = self.next_of_bounded()?;
                if next.deadline >= self.now + LEAST_TIME_LEFT {
                    return Some(next);
                }
                self.reject(next);
            },
        }
    }

    /// In order while the queue is short, and from its end once it stands: whoever waits longest
    /// then has the least chance to be answered in time.
    fn next_of_bounded(&mut self) -> Option<Waiting> {
        let oldest = self.queue.front()?;
        if self.now + nanos(CLIENT_TIMEOUT) < oldest.deadline + STANDING {
            self.queue.pop_front()
        } else {
            self.queue.pop_back()
        }
    }

    /// Tells the client at once, while it still waits.
    fn reject(&mut self, shed: Waiting) {
        if self.is_pending(shed.attempt) {
            self.failed(shed.attempt, Failure::Unsent);
        }
    }

    fn done(&mut self, attempt: Attempt, began: u64) {
        self.busy -= 1;
        self.report.worked(began, self.now);
        self.answered(attempt);
        self.start_work();
    }

    fn workers(&self) -> usize {
        if !self.healthy && self.scenario.fault == Fault::FewerWorkers {
            (WORKERS as f64 * LEFT) as usize
        } else {
            WORKERS
        }
    }

    /// In nanoseconds, with the same mean for every distribution.
    fn draw_service(&mut self) -> f64 {
        match self.scenario.service {
            Service::Exponential => self.services.exp(MEAN_SERVICE_NS),
            Service::Lognormal(sigma) => {
                let median = MEAN_SERVICE_NS / (sigma * sigma / 2.0).exp();
                self.services.lognormal(median, sigma)
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    // The whole run is a minute long.
    duration.as_nanos() as u64
}
