//! The simulator: clients, a front that decides, and a server, in virtual time.
//!
//! Nothing here waits: a minute of ten times the load takes a second.
//!
//! The server has a number of workers and serves in the order of admission. It does not know what
//! the client does: work that the client has given up is still done.

use std::collections::VecDeque;

use steadfast::context::Tier;
use steadfast::decide::budget::Failure;

use crate::events::Events;
use crate::load::{MS, PATIENCE, SECOND, Service, Steps, Stream, WORKERS, in_force};
use crate::metrics::{Metrics, Served};
use crate::rng::Rng;

/// One attempt of a request, as the front sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Counts attempts from 0; what decisions name.
    pub id: u32,
    /// Who is served first.
    pub tier: Tier,
    /// Who sent it.
    pub user: u64,
    /// When this attempt came.
    pub arrived: u64,
    /// When the client gives it up.
    pub deadline: u64,
    /// Counts the attempts of this request, from 1.
    pub attempt: u32,
}

/// What a front decides about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The server gets it now.
    Admit(u32),
    /// The client is told so now.
    Reject(u32),
}

/// Stands before the server and decides. Each call may decide about any attempts that are not
/// decided yet; an arrival about which nothing is decided waits in the front.
pub trait Front {
    /// Hears that an attempt came.
    fn arrive(&mut self, request: &Request, now: u64, decisions: &mut Vec<Decision>);

    /// Hears that the server has done with an attempt that was admitted at `admitted`.
    fn ended(&mut self, request: &Request, admitted: u64, now: u64, decisions: &mut Vec<Decision>);

    /// Hears that the client has given up an attempt that was still waiting.
    fn gave_up(&mut self, request: &Request, now: u64) {
        let _ = (request, now);
    }

    /// Returns how many it lets in at a time, for the record.
    fn limit(&self) -> u32;
}

/// Decides whether a client tries again.
pub trait Retry {
    /// Hears that a request was answered in time.
    fn answered(&mut self, now: u64) {
        let _ = now;
    }

    /// Hears that an attempt failed and how, and answers after how many nanoseconds the next one
    /// comes.
    fn failed(&mut self, request: &Request, how: Failure, now: u64, rng: &mut Rng) -> Option<u64>;
}

/// Never tries again.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRetry;

impl Retry for NoRetry {
    fn failed(&mut self, _: &Request, _: Failure, _: u64, _: &mut Rng) -> Option<u64> {
        None
    }
}

/// What a run is made of, but for the front and the clients' retries.
#[derive(Clone, Debug)]
pub struct World {
    /// What comes in.
    pub streams: Vec<Stream>,
    /// How long serving takes.
    pub service: Service,
    /// How many are served at a time. A step is seen at the next [`TICK`].
    pub workers: Steps,
    /// How long a client waits, in nanoseconds.
    pub patience: u64,
    /// How fast the workers are: 1 as usual, 0.3 when everything takes 3.3 times as long.
    pub speed: Steps,
    /// How long a rejection keeps a worker busy, in nanoseconds.
    pub rejection_cost: u64,
    /// When it ends.
    pub until: u64,
}

impl World {
    /// Makes the common model of the scenarios for this load.
    #[must_use]
    pub fn new(streams: Vec<Stream>, service: Service, until: u64) -> Self {
        Self {
            streams,
            service,
            workers: vec![(0, WORKERS)],
            patience: PATIENCE,
            speed: vec![(0, 1.0)],
            rejection_cost: 0,
            until,
        }
    }

    /// Runs it without retries.
    pub fn run(&self, seed: u64, front: &mut dyn Front) -> Metrics {
        self.run_with(seed, front, &mut NoRetry)
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// If the front decides about an attempt that it does not have.
    pub fn run_with(&self, seed: u64, front: &mut dyn Front, retry: &mut dyn Retry) -> Metrics {
        let mut run = Run::new(self, seed);
        for stream in 0..self.streams.len() {
            run.schedule_arrival(stream, 0);
        }
        run.at(0, Event::Tick);
        while let Some((now, event)) = run.events.next(self.until) {
            run.handle(event, now, front, retry);
        }
        run.metrics
    }
}

/// How often the limit is recorded, and workers come and go: ten times a second.
pub const TICK: u64 = 100 * MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival { stream: usize },
    Again { id: u32 },
    Done { id: u32, began: u64 },
    RejectionDone,
    PatienceOver { id: u32 },
    Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the front, not decided.
    Waiting,
    /// In the server since this instant, with somebody who waits for the answer.
    Wanted(u64),
    /// In the server since this instant; the client is gone.
    Unwanted(u64),
    /// Answered, rejected or given up.
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    request: Request,
    /// When the request came for the first time.
    first: u64,
    state: State,
}

/// What a worker can be busy with.
#[derive(Clone, Copy, Debug)]
enum Work {
    Serve(u32),
    Reject,
}

struct Run<'a> {
    world: &'a World,
    /// Each in a sequence of its own, so that all who compete see the same requests.
    arrivals: Vec<Rng>,
    services: Rng,
    waits: Rng,
    events: Events<Event>,
    attempts: Vec<Attempt>,
    queue: VecDeque<Work>,
    busy: usize,
    decisions: Vec<Decision>,
    metrics: Metrics,
}

// === impl Run ===

impl<'a> Run<'a> {
    fn new(world: &'a World, seed: u64) -> Self {
        let mut seeds = Rng::new(seed);
        let mut sequence = || Rng::new(seeds.u64());
        Self {
            world,
            services: sequence(),
            waits: sequence(),
            arrivals: world.streams.iter().map(|_| sequence()).collect(),
            events: Events::new(),
            attempts: Vec::new(),
            queue: VecDeque::new(),
            busy: 0,
            decisions: Vec::new(),
            metrics: Metrics::default(),
        }
    }

    fn at(&mut self, instant: u64, event: Event) {
        self.events.at(instant, event);
    }

    fn schedule_arrival(&mut self, stream: usize, now: u64) {
        let rng = &mut self.arrivals[stream];
        if let Some(next) = self.world.streams[stream].next(now, rng) {
            self.at(next, Event::Arrival { stream });
        }
    }

    fn handle(&mut self, event: Event, now: u64, front: &mut dyn Front, retry: &mut dyn Retry) {
        match event {
            Event::Arrival { stream } => {
                self.schedule_arrival(stream, now);
                let source = &self.world.streams[stream];
                let (tier, users) = (source.tier, source.users);
                let user = self.arrivals[stream].u64() % users;
                self.metrics.at(tier, now).offered += 1;
                self.attempt(tier, user, 1, now, now, front);
            }
            Event::Again { id } => {
                let Attempt { request, first, .. } = self.attempts[id as usize];
                let Request {
                    tier,
                    user,
                    attempt,
                    ..
                } = request;
                self.attempt(tier, user, attempt + 1, first, now, front);
            }
            Event::Done { id, began } => {
                self.busy -= 1;
                self.done(id, began, now, front, retry);
            }
            Event::RejectionDone => self.busy -= 1,
            Event::PatienceOver { id } => self.patience_over(id, now, front, retry),
            Event::Tick => {
                self.metrics.push_limit(now, front.limit());
                self.at(now + TICK, Event::Tick);
            }
        }
        self.follow_decisions(now, retry);
        self.start_work(now);
    }

    fn attempt(
        &mut self,
        tier: Tier,
        user: u64,
        attempt: u32,
        first: u64,
        now: u64,
        front: &mut dyn Front,
    ) {
        let request = Request {
            id: self.attempts.len() as u32,
            tier,
            user,
            arrived: now,
            deadline: now + self.world.patience,
            attempt,
        };
        self.attempts.push(Attempt {
            request,
            first,
            state: State::Waiting,
        });
        self.metrics.at(tier, first).attempts += 1;
        front.arrive(&request, now, &mut self.decisions);
        let rejected = Decision::Reject(request.id);
        if !self.decisions.contains(&rejected) {
            self.at(request.deadline, Event::PatienceOver { id: request.id });
        }
    }

    fn done(
        &mut self,
        id: u32,
        began: u64,
        now: u64,
        front: &mut dyn Front,
        retry: &mut dyn Retry,
    ) {
        let Attempt {
            request,
            first,
            state,
        } = self.attempts[id as usize];
        let admitted = match state {
            State::Wanted(admitted) => {
                self.metrics.at(request.tier, first).good += 1;
                retry.answered(now);
                admitted
            }
            State::Unwanted(admitted) => admitted,
            State::Waiting | State::Over => unreachable!("a worker served what was not admitted"),
        };
        self.attempts[id as usize].state = State::Over;
        self.metrics.push_served(Served {
            tier: request.tier,
            arrived: request.arrived,
            took: now - request.arrived,
            worked: now - began,
        });
        front.ended(&request, admitted, now, &mut self.decisions);
    }

    fn patience_over(&mut self, id: u32, now: u64, front: &mut dyn Front, retry: &mut dyn Retry) {
        let Attempt { request, state, .. } = self.attempts[id as usize];
        self.attempts[id as usize].state = match state {
            State::Over => return,
            State::Waiting => {
                front.gave_up(&request, now);
                State::Over
            }
            State::Wanted(admitted) => State::Unwanted(admitted),
            State::Unwanted(_) => unreachable!("patience ends once"),
        };
        self.failed(id, Failure::Unknown, now, retry);
    }

    fn failed(&mut self, id: u32, how: Failure, now: u64, retry: &mut dyn Retry) {
        let Attempt { request, first, .. } = self.attempts[id as usize];
        if let Some(delay) = retry.failed(&request, how, now, &mut self.waits) {
            self.at(now + delay, Event::Again { id });
            return;
        }
        let count = self.metrics.at(request.tier, first);
        match how {
            Failure::Unsent => count.rejected += 1,
            Failure::Unknown | Failure::Permanent => count.late += 1,
        }
    }

    fn follow_decisions(&mut self, now: u64, retry: &mut dyn Retry) {
        let mut decisions = std::mem::take(&mut self.decisions);
        for decision in decisions.drain(..) {
            let (Decision::Admit(id) | Decision::Reject(id)) = decision;
            let state = &mut self.attempts[id as usize].state;
            assert_eq!(*state, State::Waiting, "{decision:?}, which is decided");
            match decision {
                Decision::Admit(_) => {
                    *state = State::Wanted(now);
                    self.queue.push_back(Work::Serve(id));
                }
                Decision::Reject(_) => {
                    *state = State::Over;
                    self.failed(id, Failure::Unsent, now, retry);
                    if self.world.rejection_cost > 0 {
                        // Rejecting is the first thing a server does with a request.
                        self.queue.push_front(Work::Reject);
                    }
                }
            }
        }
        self.decisions = decisions;
    }

    fn start_work(&mut self, now: u64) {
        let (workers, _) = in_force(&self.world.workers, now);
        while self.busy < workers as usize {
            let Some(work) = self.queue.pop_front() else {
                return;
            };
            self.busy += 1;
            match work {
                Work::Serve(id) => {
                    let (speed, _) = in_force(&self.world.speed, now);
                    let takes = self.world.service.draw(&mut self.services) as f64 / speed;
                    self.at(now + takes as u64, Event::Done { id, began: now });
                }
                Work::Reject => self.at(now + self.world.rejection_cost, Event::RejectionDone),
            }
        }
    }
}

/// Returns a load of one tier that is `before` times the capacity, then `during`, then `before`
/// again, for so many seconds each.
#[must_use]
pub fn surge(tier: Tier, before: f64, during: f64, seconds: [u64; 3]) -> Vec<Stream> {
    let capacity = crate::load::CAPACITY;
    let [first, second, _] = seconds;
    vec![Stream::new(
        tier,
        vec![
            (0, before * capacity),
            (first * SECOND, during * capacity),
            ((first + second) * SECOND, before * capacity),
        ],
    )]
}
