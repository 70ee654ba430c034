use std::task::{Context, Poll};

use http::{Request, Response};
use steadfast_core::context;
use tower_service::Service;
use tracing::Span;
use tracing::field::display;

use super::Naming;
use crate::noted::Noted;
use crate::placed::Placed;
use crate::{PlacedBody, PlacedFuture};

/// The service of [`RouteLayer`](super::RouteLayer).
#[derive(Debug, Clone)]
pub struct Route<S> {
    inner: S,
    naming: Naming,
}

impl<S> Route<S> {
    pub(super) fn new(inner: S, naming: Naming) -> Self {
        Self { inner, naming }
    }
}

impl<S, In, Out> Service<Request<In>> for Route<S>
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
        let (parts, body) = request.into_parts();
        let route = (self.naming.0)(&parts);
        Span::current().record("route", display(route));
        Noted::note(&parts.extensions, |notes| notes.route = Some(route));
        let inside = context::current().with_route(route).captured();
        let mut placed = Placed::within(Some(inside), &parts.extensions);
        let request = Request::from_parts(parts, body);
        let future = placed.enter(|| self.inner.call(request));
        PlacedFuture::new(future, placed)
    }
}
