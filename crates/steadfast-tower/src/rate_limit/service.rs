use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::RateLimitFuture;
use super::buckets::Buckets;
use crate::AnswerBody;
use crate::answer::Protocol;
use crate::ready::WhenReady;

/// The service of [`RateLimitLayer`](super::RateLimitLayer).
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    /// Absent where nothing is limited.
    buckets: Option<Arc<Buckets>>,
}

impl<S> RateLimit<S> {
    pub(crate) fn new(inner: S, buckets: Option<Arc<Buckets>>) -> Self {
        Self { inner, buckets }
    }

    /// Serves one request, and is used up by it.
    pub(crate) fn serve<In, Out>(self, request: Request<In>) -> RateLimitFuture<S, Request<In>, Out>
    where
        S: Service<Request<In>, Response = Response<Out>>,
    {
        let Some(buckets) = self.buckets else {
            return RateLimitFuture::passed(WhenReady::now(self.inner, request), None);
        };
        let (standing, request) = buckets.check(request);
        match buckets.rejection(&standing) {
            rejection if buckets.is_shadow() => {
                if let Some(rejection) = rejection {
                    rejection.count_shadow();
                }
                // Clients obey what they are told, so they are told nothing.
                RateLimitFuture::passed(WhenReady::now(self.inner, request), None)
            }
            None => RateLimitFuture::passed(WhenReady::now(self.inner, request), Some(standing)),
            Some(rejection) => {
                let answer = rejection.answer_in(Protocol::of(request.headers()));
                RateLimitFuture::rejected(answer, standing)
            }
        }
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
        self.clone().serve(request)
    }
}
