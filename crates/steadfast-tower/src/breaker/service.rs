use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use steadfast_core::clock;
use tower_service::Service;

use super::shared::Asked;
use super::{BreakerBody, BreakerFuture, Breakers};
use crate::ready::WhenReady;
use crate::{CallError, Classify};

/// The service of [`BreakerLayer`](super::BreakerLayer).
pub struct Breaker<S, C> {
    inner: S,
    breakers: Breakers,
    classifier: Arc<C>,
}

impl<S, C> Breaker<S, C> {
    pub(crate) fn new(inner: S, breakers: Breakers, classifier: Arc<C>) -> Self {
        Self {
            inner,
            breakers,
            classifier,
        }
    }
}

impl<S, C, In, Out> Service<Request<In>> for Breaker<S, C>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone,
    C: Classify<S::Error>,
{
    type Response = Response<BreakerBody<Out>>;
    type Error = CallError<S::Error>;
    type Future = BreakerFuture<S, Request<In>, C>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let now = clock::nanos();
        match self.breakers.ask(&parts, now) {
            Asked::Passed(pass) => {
                let request = Request::from_parts(parts, body);
                let served = WhenReady::now(self.inner.clone(), request);
                BreakerFuture::passed(served, pass, self.classifier.clone())
            }
            Asked::Rejected(rejection) => {
                BreakerFuture::rejected(rejection, self.classifier.clone(), now)
            }
        }
    }
}

impl<S: Clone, C> Clone for Breaker<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            breakers: self.breakers.clone(),
            classifier: self.classifier.clone(),
        }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Breaker<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("inner", &self.inner)
            .field("breakers", &self.breakers)
            .finish()
    }
}
