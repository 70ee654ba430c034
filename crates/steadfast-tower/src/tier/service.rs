use std::task::{Context, Poll};

use http::{Request, Response};
use steadfast_core::context;
use tower_service::Service;
use tracing::Span;

use super::Judge;
use crate::noted::Noted;
use crate::placed::Placed;
use crate::{PlacedBody, PlacedFuture};

/// The service of [`TierLayer`](super::TierLayer).
#[derive(Debug, Clone)]
pub struct TierService<S> {
    inner: S,
    judge: Judge,
}

impl<S> TierService<S> {
    pub(super) fn new(inner: S, judge: Judge) -> Self {
        Self { inner, judge }
    }
}

impl<S, In, Out> Service<Request<In>> for TierService<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    type Response = Response<PlacedBody<Out>>;
    type Error = S::Error;
    type Future = PlacedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let context = context::current();
        let tier = self.judge.tier(&mut parts).unwrap_or(context.tier());
        Span::current().record("tier", tier.number());
        Noted::note(&parts.extensions, |notes| notes.tier = Some(tier));
        // Most requests are of the tier that they have anyway.
        let changed = (tier != context.tier()).then(|| context.with_tier(tier).captured());
        let mut placed = Placed::within(changed, &parts.extensions);
        let request = Request::from_parts(parts, body);
        let future = placed.enter(|| self.inner.call(request));
        PlacedFuture::new(future, placed)
    }
}
