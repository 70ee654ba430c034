use std::task::{Context, Poll};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderMap, Request, Response, Version};
use steadfast_core::context;
use tower_service::Service;

use super::{Drain, DrainFuture};
use crate::answer::Protocol;
use crate::ready::WhenReady;
use crate::{AnswerBody, AnswerFuture, Reason, Rejection};

/// The service of [`DrainLayer`](super::DrainLayer).
#[derive(Debug, Clone)]
pub struct Draining<S> {
    inner: S,
    drain: Drain,
}

impl<S> Draining<S> {
    pub(super) fn new(inner: S, drain: Drain) -> Self {
        Self { inner, drain }
    }
}

impl<S, In, Out> Service<Request<In>> for Draining<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone,
{
    type Response = Response<super::DrainBody<Out>>;
    type Error = S::Error;
    type Future = DrainFuture<AnswerFuture<WhenReady<S, Request<In>>, Out>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let closes = closes(request.version());
        match self.drain.enter(context::current().tier()) {
            Some(entered) => {
                let passed = WhenReady::now(self.inner.clone(), request);
                DrainFuture::new(AnswerFuture::inner(passed), Some(entered), closes)
            }
            None => DrainFuture::new(
                AnswerFuture::own(rejected(&self.drain, request.version(), request.headers())),
                None,
                closes,
            ),
        }
    }
}

/// Tells whether the client can be told by a header to leave: later versions know no such header,
/// and have to be told by the server.
pub(crate) fn closes(version: Version) -> bool {
    version < Version::HTTP_2
}

/// Gives the answer to a request that comes too late.
pub(crate) fn rejected<B>(
    drain: &Drain,
    version: Version,
    request: &HeaderMap,
) -> Response<AnswerBody<B>> {
    let (limit, since) = drain.closed_after();
    let rejection = Rejection::new(Reason::Draining, "drain")
        .with_bound(
            limit.as_secs_f64(),
            since.as_secs_f64(),
            "seconds of the drain",
        )
        .with_retry_after(ELSEWHERE);
    let mut answer = rejection.answer_in(Protocol::of(request));
    if !closes(version) {
        answer.headers_mut().remove(CONNECTION);
    }
    answer
}

/// When to come back: in a second, and to another instance. By then the load balancer knows.
const ELSEWHERE: Duration = Duration::from_secs(1);
