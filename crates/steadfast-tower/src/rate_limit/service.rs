use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use steadfast_core::clock;
use tower_service::Service;

use super::RateLimitFuture;
use super::buckets::{Asked, Buckets};
use crate::AnswerBody;
use crate::answer::Protocol;
use crate::ready::WhenReady;

/// The service of [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    buckets: Arc<Buckets>,
}

impl<S> RateLimit<S> {
    pub(super) fn new(inner: S, buckets: Arc<Buckets>) -> Self {
        Self { inner, buckets }
    }
}

impl<S, In, Out> Service<Request<In>> for RateLimit<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone,
{
    type Response = Response<AnswerBody<Out>>;
    type Error = S::Error;
    type Future = RateLimitFuture<S, Request<In>, Out>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (parts, body) = request.into_parts();
        match self.buckets.clone().ask(&parts, clock::nanos()) {
            Asked::Passed(standing) => {
                let request = Request::from_parts(parts, body);
                let passed = WhenReady::now(self.inner.clone(), request);
                RateLimitFuture::passed(passed, standing)
            }
            Asked::Rejected(rejection, standing) => {
                let answer = rejection.answer_in(Protocol::of(&parts.headers));
                RateLimitFuture::rejected(answer, standing)
            }
        }
    }
}
