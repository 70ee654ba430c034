use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response};
use tower_service::Service;

use super::TraceIdFuture;
use super::received::{REQUEST_ID, Received};
use crate::attempt::ATTEMPT;
use crate::placed::Placed;
use crate::{PlacedBody, Trust};

/// The service of [`TraceIdLayer`](super::TraceIdLayer).
#[derive(Debug, Clone)]
pub struct TraceId<S> {
    inner: S,
    trust: Trust,
}

impl<S> TraceId<S> {
    pub(super) fn new(inner: S, trust: Trust) -> Self {
        Self { inner, trust }
    }
}

impl<S, In, Out> Service<Request<In>> for TraceId<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
{
    type Response = Response<PlacedBody<Out>>;
    type Error = S::Error;
    type Future = TraceIdFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        if self.trust == Trust::Edge {
            // Whoever passes the request on as it came would have its retries forbidden by anybody.
            request.headers_mut().remove(ATTEMPT);
        }
        let received = Received::read(request.headers(), self.trust);
        let span = tracing::info_span!(
            target: "steadfast::request",
            "request",
            trace_id = %received.trace_id,
            span_id = %received.span_id,
            request_id = received.request_id.as_ref().and_then(|id| id.to_str().ok()),
            method = %request.method(),
            // Layers inside know them.
            route = tracing::field::Empty,
            tier = tracing::field::Empty,
        );
        let echo = received.request_id.clone().unwrap_or_else(|| {
            HeaderValue::try_from(received.trace_id.to_string()).expect("digits only")
        });
        let mut placed = Placed::new(received.into_context(), span);
        let future = placed.enter(|| self.inner.call(request));
        TraceIdFuture::new(future, placed, (REQUEST_ID, echo))
    }
}
