//! Panics caught: on the way of those who do not panic, and when all do.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::{Request, Response};
use steadfast::tower::RecoverLayer;
use tower::{Layer, Service};
use tower_http::catch_panic::CatchPanicLayer;

use super::service::{Body, Handler, calls, refused, served};
use crate::Group;

pub(super) fn groups() -> [Group; 2] {
    let calm = Group::new("layer: recover, no panic", "request")
        .ours(calls(
            "steadfast RecoverLayer",
            RecoverLayer::new().layer(Handler),
            served,
        ))
        .peer(calls("no layer", Handler, served))
        .peer(calls(
            "tower-http CatchPanicLayer, without bodies",
            CatchPanicLayer::new().layer(Handler),
            served,
        ));
    let panicking = Group::new("layer: recover, each handler panics", "request")
        .ours(calls(
            "steadfast RecoverLayer, each reported",
            RecoverLayer::new().layer(Panicking),
            refused,
        ))
        .peer(calls(
            "tower-http CatchPanicLayer, silent hook",
            CatchPanicLayer::new().layer(Panicking),
            refused,
        ));
    [calm, panicking]
}

#[derive(Clone, Copy)]
struct Panicking;

impl Service<Request<Body>> for Panicking {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(request.uri().path().is_empty(), "each one panics");
        ready(Ok(Response::default()))
    }
}
