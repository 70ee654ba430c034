use std::task::{Context, Poll};

use http::{Request, Response};
use steadfast_core::context;
use tower_service::Service;

use super::REQUEST_ID;
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
        begin(&mut self.inner, self.trust, None, request, |context| {
            context
        })
    }
}

/// Calls a service in the context of a request, of which more is known by `facts`. One that brings no
/// trace is of the one that was `begun` for it outside, or begins one.
pub(crate) fn begin<S, In>(
    inner: &mut S,
    trust: Trust,
    begun: Option<context::TraceId>,
    mut request: Request<In>,
    facts: impl FnOnce(steadfast_core::Context) -> steadfast_core::Context,
) -> TraceIdFuture<S::Future>
where
    S: Service<Request<In>>,
{
    if trust == Trust::Edge {
        // Whoever passes the request on as it came would have its retries forbidden by anybody.
        request.headers_mut().remove(ATTEMPT);
        // The same with what anybody may have made up.
        request.headers_mut().remove(BAGGAGE);
    }
    let received = Received::read(request.headers(), trust, begun);
    let echo = received.request_id.clone();
    let echo = echo.unwrap_or_else(|| super::echo(received.trace_id));
    let known = facts(received.context());
    let span = tracing::info_span!(
        target: "steadfast::request",
        "request",
        trace_id = %received.trace_id,
        span_id = %received.span_id,
        request_id = received.request_id.as_ref().and_then(|id| id.to_str().ok()),
        method = %request.method(),
        // Where they are not known yet, layers inside will.
        route = known.route().map(tracing::field::display),
        tier = known.route().map(|_| known.tier().number()),
    );
    let mut placed = Placed::new(received.place(known), span);
    let future = placed.enter(|| inner.call(request));
    TraceIdFuture::new(future, placed, Some((REQUEST_ID, echo)))
}

/// Calls a service that is inside of another one which has done all of this.
pub(crate) fn again<S, In>(inner: &mut S, request: Request<In>) -> TraceIdFuture<S::Future>
where
    S: Service<Request<In>>,
{
    let placed = Placed::within(None, request.extensions());
    TraceIdFuture::new(inner.call(request), placed, None)
}
