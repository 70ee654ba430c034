//! One attempt of a call: the breaker of its endpoint, the limit, the timeout, and what whoever is called
//! is told.
//!
//! Each of them is a layer of its own, too. Stacked, an attempt would copy the handles of all of them from
//! one to the next, and move their futures into each other. Here one future and one body hold what the layers
//! decide with, behind two handles, and ask the same decisions in the same order.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts as Head;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::clock::{self, Instant};
use steadfast_core::{Context as Facts, context};
use tower_service::Service;

use super::attempts::{Attempt, Attempts};
use super::dependency::Parts;
use super::told::Told;
use crate::breaker::{self, Breakers, Pass, Telling};
use crate::timeout::{Call, CallEnded, Pace, Timed, TimeoutBodyError, poll_call, send};
use crate::{CallError, Classify, Rejection, Trust, admission};

/// Sends the attempts of one call; the service inside of retries and hedges.
pub struct Sends<S, C> {
    inner: S,
    rules: Arc<Rules<C>>,
    /// By the policy of the moment at which the call began.
    parts: Arc<Parts>,
}

/// What a client knows of its dependency, whatever the policy says.
pub(super) struct Rules<C> {
    pub(super) breakers: Breakers,
    /// Judges what the breaker sees.
    pub(super) classifier: C,
    pub(super) attempts: Arc<Attempts>,
    pub(super) trust: Trust,
}

pin_project! {
    /// The future of [`Sends`].
    pub struct SendsFuture<S, C, In>
    where
        S: Service<Request<In>>,
    {
        #[pin]
        stage: Stage<S, In>,
        held: Held,
        rules: Arc<Rules<C>>,
        parts: Arc<Parts>,
    }
}

pin_project! {
    /// How far an attempt has come.
    #[project = Projected]
    enum Stage<S, In>
    where
        S: Service<Request<In>>,
    {
        // Boxed, because only those wait for whom there is no place. Absent once it is over.
        Waiting { waiting: Option<Box<Waiting<S, In>>> },
        // Absent once it has ended.
        Called { #[pin] served: Option<Timed<Told<S>, Request<In>>> },
        // Until it is given.
        Rejected { rejection: Option<Rejection> },
    }
}

/// An attempt for which there is no place yet.
struct Waiting<S, In> {
    turn: admission::Waiting,
    service: S,
    request: Request<In>,
}

/// What an attempt has to give back, in this order.
#[derive(Default)]
struct Held {
    call: Option<Call>,
    /// Absent where everybody gets in.
    admitted: Option<admission::Held>,
    /// Absent where nothing is counted.
    pass: Option<Pass>,
}

impl<S, C> Sends<S, C> {
    pub(super) fn new(inner: S, rules: Arc<Rules<C>>, parts: Arc<Parts>) -> Self {
        Self {
            inner,
            rules,
            parts,
        }
    }
}

impl<S, C, In, Out> Service<Request<In>> for Sends<S, C>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone,
    C: Classify<CallError<S::Error>>,
    Out: Body,
{
    type Response = Response<CallBody<Out>>;
    type Error = CallError<S::Error>;
    type Future = SendsFuture<S, C, In>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (head, body) = request.into_parts();
        let (context, now) = (context::current(), clock::now());
        let mut held = Held::default();
        let decided = self.decide(&head, &context, now, &mut held);
        let request = Request::from_parts(head, body);
        let service = self.inner.clone();
        let stage = match decided {
            Ok(None) => {
                let trust = self.rules.trust;
                let attempt = Attempt::new(self.rules.attempts.clone(), request.method());
                held.call(
                    &self.parts,
                    attempt,
                    Told::new(service, trust),
                    request,
                    context,
                    now,
                )
            }
            Ok(Some(turn)) => {
                let waiting = Waiting {
                    turn,
                    service,
                    request,
                };
                let waiting = Some(Box::new(waiting));
                Stage::Waiting { waiting }
            }
            Err(rejection) => Stage::rejected(rejection),
        };
        SendsFuture {
            stage,
            held,
            rules: self.rules.clone(),
            parts: self.parts.clone(),
        }
    }
}

impl<S, C> Sends<S, C> {
    /// Gives what an attempt has to wait for, if it has to.
    fn decide(
        &self,
        request: &Head,
        context: &Facts,
        now: Instant,
        held: &mut Held,
    ) -> Result<Option<admission::Waiting>, Rejection> {
        let now = clock::nanos_at(now);
        match self.rules.breakers.ask(request, now) {
            breaker::Asked::Passed(pass) => held.pass = pass,
            breaker::Asked::Rejected(rejection) => return Err(rejection),
        }
        let Some(shared) = self.parts.admission() else {
            return Ok(None);
        };
        match admission::ask(shared, None, request, context, now) {
            admission::Asked::In(admitted) => {
                held.admitted = admitted;
                Ok(None)
            }
            admission::Asked::Waiting(turn) => Ok(Some(turn)),
            admission::Asked::Out(rejection) => Err(rejection),
        }
    }
}

impl<S: Service<Request<In>>, In> Stage<S, In> {
    fn rejected(rejection: Rejection) -> Self {
        let rejection = Some(rejection);
        Self::Rejected { rejection }
    }
}

impl Held {
    /// Calls for an attempt that was let in `now`.
    fn call<S, In>(
        &mut self,
        parts: &Parts,
        attempt: Attempt,
        service: Told<S>,
        request: Request<In>,
        context: Facts,
        now: Instant,
    ) -> Stage<S, In>
    where
        S: Service<Request<In>>,
    {
        let timeout = parts.timeout().cloned();
        match Call::begin(timeout, context.deadline(), Some(attempt), now) {
            Ok(call) => {
                let call = self.call.insert(call);
                let served = Some(send(call, context, service, request));
                Stage::Called { served }
            }
            Err(rejection) => Stage::rejected(rejection),
        }
    }
}

impl<S, C, In, Out> Future for SendsFuture<S, C, In>
where
    S: Service<Request<In>, Response = Response<Out>>,
    C: Classify<CallError<S::Error>>,
    Out: Body,
{
    type Output = Result<Response<CallBody<Out>>, CallError<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (held, rules, parts) = (this.held, this.rules, this.parts);
        let (answer, now) = loop {
            match this.stage.as_mut().project() {
                Projected::Called { served } => {
                    let call = held.call.as_mut().expect("it has begun");
                    break match ready!(poll_call(served, call, cx)) {
                        CallEnded::Answered(answer, now) => (answer.map_err(CallError::Inner), now),
                        CallEnded::Cut(rejection) => rejected(rejection),
                    };
                }
                Projected::Waiting { waiting } => {
                    let turn = ready!(waiting.as_mut().expect(OVER).turn.poll(cx));
                    let waiting = *waiting.take().expect(OVER);
                    let next = match turn {
                        Ok(admitted) => {
                            held.admitted = Some(admitted);
                            let (context, now) = (context::current(), clock::now());
                            let Waiting {
                                service, request, ..
                            } = waiting;
                            let attempts = rules.attempts.clone();
                            let attempt = Attempt::new(attempts, request.method());
                            let told = Told::new(service, rules.trust);
                            held.call(parts, attempt, told, request, context, now)
                        }
                        Err(rejection) => Stage::rejected(rejection),
                    };
                    this.stage.set(next);
                }
                Projected::Rejected { rejection } => {
                    let rejection = rejection.take().expect(OVER);
                    break rejected(rejection);
                }
            }
        };
        let nanos = clock::nanos_at(now);
        let Held { admitted, pass, .. } = std::mem::take(held);
        Poll::Ready(match answer {
            Ok(response) => {
                let admitted = admitted.map(|mut admitted| {
                    admitted.answered(response.status());
                    admitted
                });
                let (head, body) = response.into_parts();
                let telling = pass.and_then(|pass| pass.judged(&head, &rules.classifier, nanos));
                let body = CallBody {
                    body,
                    pace: Pace::new(parts.body, now),
                    admitted,
                    telling,
                };
                Ok(Response::from_parts(head, body))
            }
            Err(error) => {
                drop(admitted);
                if let Some(pass) = pass {
                    pass.failed(&error, &rules.classifier, nanos);
                }
                Err(error)
            }
        })
    }
}

/// Counts a rejection, and tells it; gives it as an answer of this moment.
fn rejected<Out, E>(rejection: Rejection) -> (Result<Out, CallError<E>>, Instant) {
    let now = clock::now();
    rejection.count_at(clock::nanos_at(now));
    (Err(CallError::Rejected(rejection)), now)
}

const OVER: &str = "not polled after its end";

pin_project! {
    /// The body of a response that passed a [`GuardedClient`](super::GuardedClient).
    pub struct CallBody<B> {
        #[pin]
        body: B,
        pace: Pace,
        admitted: Option<admission::Held>,
        telling: Option<Telling>,
    }
}

impl<B: Body> Body for CallBody<B> {
    type Data = B::Data;
    type Error = TimeoutBodyError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.pace.poll_frame(this.body.as_mut(), cx));
        let goes_on = matches!(frame, Some(Ok(_)));
        // Not only at the drop: a client may keep the body for longer.
        if !goes_on || this.pace.is_over() || this.body.is_end_stream() {
            *this.admitted = None;
        }
        Telling::polled(this.telling, &frame);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.pace.is_over() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug> fmt::Debug for CallBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallBody")
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl<S: Clone, C> Clone for Sends<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            rules: self.rules.clone(),
            parts: self.parts.clone(),
        }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Sends<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sends")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
