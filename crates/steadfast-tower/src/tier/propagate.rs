use std::task::{Context, Poll};

use http::{HeaderValue, Request};
use steadfast_core::context;
use tower_layer::Layer;
use tower_service::Service;

use super::TIER;
use crate::Trust;

/// Tells the tier of the request at hand with every call of a client.
///
/// A header of that name that the request has already is replaced: what was copied from another
/// request is not true of this one.
#[derive(Debug, Clone, Copy, Default)]
pub struct PropagateTierLayer {
    trust: Trust,
}

impl PropagateTierLayer {
    /// Makes the layer for calls to services that are ours, or of others: those are not told.
    pub fn new(trust: Trust) -> Self {
        Self { trust }
    }
}

impl<S> Layer<S> for PropagateTierLayer {
    type Service = PropagateTier<S>;

    fn layer(&self, inner: S) -> PropagateTier<S> {
        PropagateTier {
            inner,
            trust: self.trust,
        }
    }
}

/// The service of [`PropagateTierLayer`].
#[derive(Debug, Clone)]
pub struct PropagateTier<S> {
    inner: S,
    trust: Trust,
}

impl<S, In> Service<Request<In>> for PropagateTier<S>
where
    S: Service<Request<In>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<In>) -> S::Future {
        match self.trust {
            Trust::Inside => {
                let number = context::current().tier().number();
                let value = HeaderValue::from(u16::from(number));
                request.headers_mut().insert(TIER, value);
            }
            Trust::Edge => {
                request.headers_mut().remove(TIER);
            }
        }
        self.inner.call(request)
    }
}
