use std::task::{Context, Poll};

use http::request::Parts;
use http::{HeaderValue, Request, Response};
use steadfast_core::context;
use tower_service::Service;

use super::TraceIdFuture;
use super::list::BAGGAGE;
use super::received::Received;
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

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let (mut placed, request_id) = begin(&mut parts, self.trust, None, |context| context);
        let request = Request::from_parts(parts, body);
        let future = placed.enter(|| self.inner.call(request));
        TraceIdFuture::new(future, placed, Some(request_id))
    }
}

/// Begins or takes up the trace of a request, of which more is known by `facts`: the one that it brings, or
/// that was `begun` for it outside. Gives where it is served, and what its answer says as `x-request-id`.
pub(crate) fn begin(
    request: &mut Parts,
    trust: Trust,
    begun: Option<context::TraceId>,
    facts: impl FnOnce(steadfast_core::Context) -> steadfast_core::Context,
) -> (Placed, HeaderValue) {
    let headers = &mut request.headers;
    if trust == Trust::Edge {
        // Whoever passes the request on as it came would have its retries forbidden by anybody.
        headers.remove(ATTEMPT);
        // The same with what anybody may have made up.
        headers.remove(BAGGAGE);
    }
    let received = Received::read(headers, trust, begun);
    let request_id = received.request_id.clone();
    let request_id = request_id.unwrap_or_else(|| super::echo(received.trace_id));
    let known = facts(received.context());
    let span = tracing::info_span!(
        target: "steadfast::request",
        "request",
        trace_id = %received.trace_id,
        span_id = %received.span_id,
        request_id = received.request_id.as_ref().and_then(|id| id.to_str().ok()),
        method = %request.method,
        // Where they are not known yet, layers inside will.
        route = known.route().map(tracing::field::display),
        tier = known.route().map(|_| known.tier().number()),
    );
    (Placed::new(received.place(known), span), request_id)
}
