use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tower_service::Service;

use super::armed::Probe;
use super::route::Route;
use crate::admission::{Admission, AdmissionBody};
use crate::rate_limit::{RateLimit, RateLimitFuture};
use crate::timeout::{BodyTimes, Timeout, TimeoutBody};
use crate::{AnswerBody, Server};

/// What stands inside of trace id and recover: the parts of the policy that the route names.
#[derive(Clone, Debug)]
pub struct Governed<S> {
    inner: S,
    /// Absent for routes that the policy does not name.
    route: Option<Arc<Route>>,
}

/// The body of a response that passed a [`Governed`] service.
pub type GovernedBody<B> = AnswerBody<AdmissionBody<AnswerBody<TimeoutBody<AnswerBody<B>>>>>;

type Timed<S> = Timeout<S, Server>;
type Admitted<S> = Admission<Timed<S>, Server>;

impl<S> Governed<S> {
    pub(super) fn new(inner: S, route: Option<Arc<Route>>) -> Self {
        Self { inner, route }
    }
}

impl<S, In, Out> Service<Request<In>> for Governed<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone,
    Out: Body<Data = Bytes>,
{
    type Response = Response<GovernedBody<Out>>;
    type Error = S::Error;
    type Future = RateLimitFuture<
        Admitted<S>,
        Request<In>,
        AdmissionBody<AnswerBody<TimeoutBody<AnswerBody<Out>>>>,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        if request.extensions().get::<Probe>().is_some() {
            // It has learned what it wanted to know; the handler is not asked.
            let mut answer = Response::new(AnswerBody::whole(Bytes::new()));
            *answer.status_mut() = StatusCode::NO_CONTENT;
            return RateLimitFuture::answered(answer);
        }
        let route = self.route.as_deref();
        let timeout = route.and_then(|route| route.timeout.clone());
        let body = route.map_or(BodyTimes::default(), |route| route.body);
        let timed = Timeout::new(self.inner.clone(), timeout, body);
        let admission = route.and_then(|route| route.admission.clone());
        let user_of = route.and_then(|route| route.user_of.clone());
        let mut admitted = Admission::new(timed, admission, user_of);
        if route.is_some_and(|route| route.is_stream) {
            admitted = admitted.of_streams();
        }
        let rate = route.and_then(|route| route.rate.clone());
        RateLimit::new(admitted, rate).serve(request)
    }
}
