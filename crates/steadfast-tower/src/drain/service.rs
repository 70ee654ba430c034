use std::task::{Context, Poll};

use http::header::CONNECTION;
use http::{Request, Response, Version};
use steadfast_core::context;
use tower_service::Service;

use super::{Drain, DrainFuture};
use crate::answer::Protocol;
use crate::ready::WhenReady;
use crate::{AnswerFuture, Reason, Rejection};

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
    type Future = DrainFuture<S, Request<In>, Out>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        // Later versions know no such header, and have to be told by the server.
        let closes = request.version() < Version::HTTP_2;
        match self.drain.enter(context::current().tier()) {
            Some(entered) => {
                let passed = WhenReady::now(self.inner.clone(), request);
                DrainFuture::new(AnswerFuture::inner(passed), Some(entered), closes)
            }
            None => {
                let rejection = Rejection::new(Reason::Draining, "drain");
                let mut answer = rejection.answer_in(Protocol::of(request.headers()));
                if !closes {
                    answer.headers_mut().remove(CONNECTION);
                }
                DrainFuture::new(AnswerFuture::own(answer), None, closes)
            }
        }
    }
}
