//! What stands inside of trace id and recover: access log, deadline, drain, and the parts of the policy
//! that the route names.
//!
//! Each of them is a layer of its own, too. Stacked, seven futures and seven bodies would lie in each other,
//! and be moved from one to the next as they are made. Here one future and one body hold what the layers
//! decide with, and ask the same decisions in the same order; and the clock is read once for all of them
//! when the request comes, and once when its head is there.

mod body;
mod future;

pub use body::GovernedBody;
pub use future::GovernedFuture;

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use steadfast_core::clock::{self, Instant};
use steadfast_core::{Context as Facts, context};
use tower_service::Service;

use super::Inner;
use super::armed::Probe;
use super::route::Route;
use crate::access_log::{Asked, Record, Sending};
use crate::admission::{self, Until};
use crate::answer::Protocol;
use crate::drain::{self, InFlight};
use crate::streams::Slot;
use crate::timeout::{BodyTimes, Call, Pace, send};
use crate::{AnswerBody, Drain, Rejection, deadline, rate_limit, streams};
use future::{Stage, Waiting};

/// What governs one request.
pub(super) struct Rules {
    /// Absent for routes that the policy does not name.
    pub(super) route: Option<Arc<Route>>,
    pub(super) protocol: Protocol,
    /// A guard outside governs it: nothing is decided, counted or told of it here.
    pub(super) is_again: bool,
    /// Present if the answer has to show whether this is a route which the policy forgot.
    pub(super) unlisted: Option<Box<Unlisted>>,
}

/// A request whose method the router does not list under this template, and who wants to know.
pub(super) struct Unlisted {
    pub(super) guard: Arc<Inner>,
    pub(super) template: Box<str>,
    pub(super) method: Method,
}

/// All that is known of a request: in one place from its beginning to the end of its answer, so that the
/// future and the body are small where they are moved.
struct State {
    held: Held,
    /// Absent where nothing is limited, and once it is told.
    standing: Option<rate_limit::Standing>,
    rules: Rules,
    asked: Asked,
    /// The protocol has a header that says to leave.
    closes: bool,
    pace: Pace,
    sending: Sending,
}

/// What a request has to give back, in this order.
#[derive(Default)]
struct Held {
    /// Absent before the handler is called.
    call: Option<Call>,
    /// Absent also where everybody gets in.
    admitted: Option<admission::Held>,
    /// Until the head is there.
    streams: streams::Held,
    /// From then on, for a stream.
    slot: Option<Slot>,
    /// Absent for a request that was rejected before.
    entered: Option<InFlight>,
}

/// What is decided about a request when it comes.
enum Decided<Out> {
    Served,
    Waiting(admission::Waiting),
    Answered(Response<AnswerBody<Out>>),
}

impl Rules {
    /// Serves a request that came at that time.
    pub(super) fn serve<S, In, Out>(
        self,
        inner: S,
        request: Request<In>,
        drain: &Drain,
        came: Instant,
    ) -> GovernedFuture<S, In, Out>
    where
        S: Service<Request<In>, Response = Response<Out>>,
    {
        let (mut parts, body) = request.into_parts();
        let context = context::current();
        let target = (&parts.method, &parts.uri);
        let record = Record::begin(
            target,
            &mut parts.extensions,
            &context,
            came,
            !self.is_again,
        );
        let mut state = Box::new(State {
            held: Held::default(),
            standing: None,
            rules: self,
            asked: Asked::of(&parts.method),
            closes: drain::closes(parts.version),
            pace: Pace::new(BodyTimes::default(), came),
            sending: Sending::new(record),
        });
        let stage = state.work(|state| {
            let decided = state.decide(&parts, &context, drain, came);
            let request = Request::from_parts(parts, body);
            match decided {
                Decided::Served => state.call(inner, request, context, came),
                Decided::Waiting(turn) => {
                    let waiting = Waiting {
                        turn,
                        service: inner,
                        request,
                    };
                    let waiting = Some(Box::new(waiting));
                    Stage::Waiting { waiting }
                }
                Decided::Answered(answer) => Stage::answered(answer),
            }
        });
        GovernedFuture::new(stage, state)
    }

    /// Rejects what nobody waits for any more, or cannot be done in the time that is left.
    fn too_late(&self, context: &Facts, came: Instant) -> Option<Rejection> {
        let deadline = context.deadline()?;
        deadline::passed(context, came).or_else(|| {
            let timeout = self.route.as_ref()?.timeout.as_ref()?;
            timeout.cannot_finish(deadline - came, clock::nanos_at(came))
        })
    }

    fn reject<B>(&self, rejection: &Rejection, now: u64) -> Response<AnswerBody<B>> {
        rejection.answer_at(self.protocol, now)
    }
}

impl State {
    /// Runs inner code, so that a panic of it is known as one.
    fn work<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        self.sending.record.at_work(true);
        let worked = f(self);
        self.sending.record.at_work(false);
        worked
    }

    /// Drops inner code before its end, tells it why, and gives back what the request holds.
    fn abandon(&mut self, drop_it: impl FnOnce()) {
        let held = &mut self.held;
        self.sending.record.abandon(|| {
            drop_it();
            *held = Held::default();
        });
    }

    fn decide<Out>(
        &mut self,
        request: &Parts,
        context: &Facts,
        drain: &Drain,
        came: Instant,
    ) -> Decided<Out> {
        let rules = &self.rules;
        let now = clock::nanos_at(came);
        let reject = |rejection| Decided::Answered(rules.reject(&rejection, now));
        if request.extensions.get::<Probe>().is_some() {
            // It has learned what it wanted to know; the handler is not asked.
            let mut answer = Response::new(AnswerBody::whole(Bytes::new()));
            *answer.status_mut() = StatusCode::NO_CONTENT;
            return Decided::Answered(answer);
        }
        if rules.is_again {
            return Decided::Served;
        }
        if let Some(rejection) = rules.too_late(context, came) {
            return reject(rejection);
        }
        self.held.entered = drain.enter(context.tier());
        if self.held.entered.is_none() {
            return Decided::Answered(drain::rejected(drain, request.version, &request.headers));
        }
        let Some(route) = &rules.route else {
            return Decided::Served;
        };
        if let Some(rate) = &route.rate {
            match rate.clone().ask(request, now) {
                rate_limit::Asked::Passed(standing) => self.standing = standing,
                rate_limit::Asked::Rejected(rejection, standing) => {
                    self.standing = Some(standing);
                    return reject(rejection);
                }
            }
        }
        if let Some(budget) = &route.streams {
            match streams::Held::take(budget, route.is_stream, &request.extensions) {
                Ok(taken) => self.held.streams = taken,
                Err(rejection) => return reject(rejection),
            }
        }
        let Some(shared) = &route.admission else {
            return Decided::Served;
        };
        match admission::ask(shared, route.user_of.as_ref(), request, context, now) {
            admission::Asked::In(admitted) => {
                self.held.admitted = admitted;
                Decided::Served
            }
            admission::Asked::Waiting(turn) => Decided::Waiting(turn),
            admission::Asked::Out(rejection) => reject(rejection),
        }
    }

    /// Calls the handler for a request that was let in `now`.
    fn call<S, In, Out>(
        &mut self,
        inner: S,
        request: Request<In>,
        context: Facts,
        now: Instant,
    ) -> Stage<S, In, Out>
    where
        S: Service<Request<In>>,
    {
        let route = self.rules.route.as_ref();
        let timeout = route.and_then(|route| route.timeout.clone());
        let deadline = context.deadline().filter(|_| !self.rules.is_again);
        match Call::begin(timeout, deadline, None, now) {
            Ok(call) => {
                let call = self.held.call.insert(call);
                let served = Some(send(call, context, inner, request));
                Stage::Called { served }
            }
            Err(rejection) => {
                let answer = self.rules.reject(&rejection, clock::nanos_at(now));
                Stage::answered(answer)
            }
        }
    }

    /// Makes what the client is given of an answer that is there `now`.
    fn finish<Out: Body<Data = Bytes>>(
        mut self: Box<Self>,
        mut answer: Response<AnswerBody<Out>>,
        now: Instant,
    ) -> Response<GovernedBody<Out>> {
        let route = self.rules.route.as_ref();
        let until = match route.is_some_and(|route| route.is_stream) {
            true => Until::Head,
            false => Until::HeadOfStream,
        };
        let times = route.map_or(BodyTimes::default(), |route| route.body);
        if let Some(admitted) = &mut self.held.admitted {
            match until.is_over(&answer) {
                true => self.held.admitted = None,
                false => admitted.answered(answer.status()),
            }
        }
        match mem::take(&mut self.held.streams).answered(&answer) {
            Ok(slot) => self.held.slot = slot,
            Err(rejection) => answer = streams::no_room(&rejection, self.rules.protocol),
        }
        if let Some(standing) = self.standing.take() {
            standing.tell(answer.headers_mut());
        }
        if self.closes {
            drain::tell_last(self.held.entered.as_ref(), &mut answer);
        }
        // What was rejected before says nothing about the router.
        let unlisted = self.rules.unlisted.take();
        if let Some(unlisted) = unlisted.filter(|_| self.held.call.is_some()) {
            let Unlisted {
                guard,
                template,
                method,
            } = &*unlisted;
            guard.watch.answered(template, method, answer.status());
        }
        self.pace = Pace::new(times, now);
        let (head, body) = answer.into_parts();
        self.sending
            .begin(self.asked, (head.status, &head.headers), &body, now);
        Response::from_parts(head, GovernedBody::new(body, self))
    }
}
