use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use steadfast_core::clock::{self, Instant};
use steadfast_core::context;
use tower_service::Service;

use super::armed::{Passed, Probe};
use super::route::Route;
use crate::admission::{Admission, AdmissionBody, Until};
use crate::answer::Protocol;
use crate::drain::{self, DrainBody, DrainFuture};
use crate::rate_limit::{RateLimit, RateLimitFuture};
use crate::streams::{Streams, StreamsBody};
use crate::timeout::{BodyTimes, Timeout, TimeoutBody};
use crate::{AnswerBody, Drain, Rejection, Server, deadline};

/// What stands inside of trace id, recover and access log: the parts of the policy that the route
/// names.
#[derive(Clone, Debug)]
pub struct Governed<S> {
    inner: S,
    /// Absent for routes that the policy does not name.
    route: Option<Arc<Route>>,
    drain: Drain,
}

type TimedBody<B> = AdmissionBody<AnswerBody<TimeoutBody<AnswerBody<B>>>>;
type Timed<S> = Admission<Timeout<S, Server>, Server>;

/// The body of a response that passed a [`Governed`] service.
pub type GovernedBody<B> = DrainBody<StreamsBody<TimedBody<B>>>;

/// The future of [`Governed`].
pub type GovernedFuture<S, R, B> =
    DrainFuture<RateLimitFuture<Streams<Timed<S>>, R, StreamsBody<TimedBody<B>>>>;

impl<S> Governed<S> {
    pub(super) fn new(inner: S, route: Option<Arc<Route>>, drain: Drain) -> Self {
        Self {
            inner,
            route,
            drain,
        }
    }
}

impl<S, In, Out> Service<Request<In>> for Governed<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone,
    Out: Body<Data = Bytes>,
{
    type Response = Response<GovernedBody<Out>>;
    type Error = S::Error;
    type Future = GovernedFuture<S, Request<In>, Out>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let route = self.route.as_deref();
        let own = |answer| DrainFuture::new(RateLimitFuture::answered(answer), None, false);
        let extensions = request.extensions();
        if extensions.get::<Probe>().is_some() {
            // It has learned what it wanted to know; the handler is not asked.
            let mut answer = Response::new(AnswerBody::whole(Bytes::new()));
            *answer.status_mut() = StatusCode::NO_CONTENT;
            return own(answer);
        }
        let passed = extensions.get::<Passed>();
        let now = passed.map_or_else(clock::now, |passed| passed.at);
        if let Some(rejection) = too_late(route, now) {
            return own(rejection.answer_in(Protocol::of(request.headers())));
        }
        let closes = drain::closes(&request);
        let Some(entered) = self.drain.enter(context::current().tier()) else {
            return own(drain::rejected(&self.drain, &request));
        };
        let timeout = route.and_then(|route| route.timeout.clone());
        let body = route.map_or(BodyTimes::default(), |route| route.body);
        let timed = Timeout::new(self.inner.clone(), timeout, body);
        let admission = route.and_then(|route| route.admission.clone());
        let user_of = route.and_then(|route| route.user_of.clone());
        let is_stream = route.is_some_and(|route| route.is_stream);
        let until = match is_stream {
            true => Until::Head,
            false => Until::HeadOfStream,
        };
        let admitted = Admission::new(timed, admission, user_of).held_until(until);
        let streams = route.and_then(|route| route.streams.clone());
        let counted = Streams::new(admitted, streams, is_stream);
        let rate = route.and_then(|route| route.rate.clone());
        let answer = RateLimit::new(counted, rate).serve(request);
        DrainFuture::new(answer, Some(entered), closes)
    }
}

/// Rejects what nobody waits for any more, or cannot be done in the time that is left.
fn too_late(route: Option<&Route>, now: Instant) -> Option<Rejection> {
    let context = context::current();
    let deadline = context.deadline()?;
    deadline::passed(&context, now).or_else(|| {
        let timeout = route?.timeout.as_ref()?;
        timeout.cannot_finish(deadline - now, clock::nanos_at(now))
    })
}
