use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request};
use steadfast_core::{clock, context};
use tower_layer::Layer;
use tower_service::Service;

use super::header::{self, GRPC_TIMEOUT, TIMEOUT};
use super::service::passed;
use crate::answer::Protocol;
use crate::reject::{CallError, CallFuture};

/// Tells the time that is left with every call of a client, and rejects a call for which there is
/// none.
///
/// Our own header is replaced, or taken away where there is no deadline: what was copied from
/// another request is not true of this one. `grpc-timeout`, which clients of gRPC set themselves,
/// is only ever shortened.
#[derive(Debug, Clone, Copy, Default)]
pub struct PropagateDeadlineLayer(());

impl PropagateDeadlineLayer {
    /// Makes the layer.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for PropagateDeadlineLayer {
    type Service = PropagateDeadline<S>;

    fn layer(&self, inner: S) -> PropagateDeadline<S> {
        PropagateDeadline { inner }
    }
}

/// The service of [`PropagateDeadlineLayer`].
#[derive(Debug, Clone)]
pub struct PropagateDeadline<S> {
    inner: S,
}

impl<S, In> Service<Request<In>> for PropagateDeadline<S>
where
    S: Service<Request<In>>,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = CallFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // What is told must be true when it is sent, so the wait comes before it.
        self.inner.poll_ready(cx).map_err(CallError::Inner)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        let (context, now) = (context::current(), clock::now());
        if let Some(rejection) = passed(&context, now) {
            return CallFuture::rejected(rejection);
        }
        let deadline = context.deadline();
        tell_left(request.headers_mut(), deadline.map(|end| end - now));
        CallFuture::passed(self.inner.call(request))
    }
}

/// Says in the headers of a call how much time is left.
pub(crate) fn tell(headers: &mut HeaderMap) {
    tell_left(headers, context::current().time_left());
}

fn tell_left(headers: &mut HeaderMap, left: Option<Duration>) {
    let Some(left) = left else {
        headers.remove(TIMEOUT);
        return;
    };
    headers.insert(TIMEOUT, header::in_milliseconds(left));
    if Protocol::of(headers) == Protocol::Grpc {
        let own = header::shortest_grpc(headers);
        let left = own.map_or(left, |own| own.min(left));
        headers.insert(GRPC_TIMEOUT, header::in_grpc(left));
    }
}
