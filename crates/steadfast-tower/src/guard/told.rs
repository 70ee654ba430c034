use std::task::{Context, Poll};

use http::Request;
use steadfast_core::context::InContext;
use tower_layer::Layer;
use tower_service::Service;

use crate::deadline;
use crate::tier::PropagateTier;
use crate::trace_id::Propagate;
use crate::{PropagateLayer, PropagateTierLayer, Trust};

/// Tells whoever is called what is known about the call: the trace, how much time is left, and, if it
/// is ours, who goes first. Each attempt has a span of its own.
#[derive(Clone, Debug)]
pub struct Told<S> {
    inner: Propagate<PropagateTier<S>>,
}

impl<S> Told<S> {
    pub(super) fn new(inner: S, trust: Trust) -> Self {
        let inner = PropagateTierLayer::new(trust).layer(inner);
        Self {
            inner: PropagateLayer::new(trust).layer(inner),
        }
    }
}

impl<S, In> Service<Request<In>> for Told<S>
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
        deadline::tell(request.headers_mut());
        self.inner.call(request)
    }
}
