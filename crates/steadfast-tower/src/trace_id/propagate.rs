use std::task::{Context, Poll};

use http::Request;
use steadfast_core::context::InContext;
use tower_layer::Layer;
use tower_service::Service;

use super::received::Sent;
use crate::Trust;

/// Sends the trace at hand on with every call of a client.
///
/// Each call has a span id of its own, which the service that is called sees as its parent, and
/// which everything inside of this layer has as its context's. Headers of the same names that the
/// request has already are replaced: what was copied from another request is not true of this one.
#[derive(Debug, Clone, Copy, Default)]
pub struct PropagateLayer {
    trust: Trust,
}

impl PropagateLayer {
    /// Makes the layer for calls to services that are ours, or of others: those are not given our
    /// baggage.
    pub fn new(trust: Trust) -> Self {
        Self { trust }
    }
}

impl<S> Layer<S> for PropagateLayer {
    type Service = Propagate<S>;

    fn layer(&self, inner: S) -> Propagate<S> {
        Propagate {
            inner,
            trust: self.trust,
        }
    }
}

/// The service of [`PropagateLayer`].
#[derive(Debug, Clone)]
pub struct Propagate<S> {
    inner: S,
    trust: Trust,
}

impl<S, In> Service<Request<In>> for Propagate<S>
where
    S: Service<Request<In>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = InContext<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        let sent = Sent::next();
        sent.write(request.headers_mut(), self.trust);
        let mut place = sent.context.captured();
        let future = place.enter(|| self.inner.call(request));
        place.wrap(future)
    }
}
