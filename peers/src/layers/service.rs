//! The service behind all layers, and how it is called.

use std::convert::Infallible;
use std::future::{Future, Pending, Ready, pending, poll_fn, ready};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::Either;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt};

use crate::Contender;
use crate::work::{beforehand, on_one_thread, on_two_threads};

/// What is sent and answered.
pub(crate) type Body = Full<Bytes>;

/// Answers at once, so that what is left is what the layers cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handler;

impl<B> Service<Request<B>> for Handler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"served")))))
    }
}

/// Answers at once that it cannot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unavailable;

impl<B> Service<Request<B>> for Unavailable {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        let mut answer = Response::new(Body::default());
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        ready(Ok(answer))
    }
}

/// A [`Handler`] that holds whoever comes while it is told to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door {
    holds: Arc<AtomicBool>,
}

impl Service<Request<Body>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<
        <Handler as Service<Request<Body>>>::Future,
        Pending<Result<Response<Body>, Infallible>>,
    >;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.holds.load(Ordering::Relaxed) {
            Either::Right(pending())
        } else {
            Either::Left(Handler.call(request))
        }
    }
}

/// Where measured requests go.
pub(crate) const ORDERS: &str = "/orders";

/// Where those go that [`fill`] a service.
pub(crate) const KEPT: &str = "/kept";

/// A request as a server hands it over, small.
fn request(path: &'static str) -> Request<Body> {
    let mut request = Request::new(Full::new(Bytes::new()));
    *request.method_mut() = Method::GET;
    *request.uri_mut() = Uri::from_static(path);
    request
}

/// Which ends of a call count.
pub(crate) trait Counts<R, E>: Fn(&Result<R, E>) -> bool + Clone + Send + 'static {}

impl<R, E, F: Fn(&Result<R, E>) -> bool + Clone + Send + 'static> Counts<R, E> for F {}

/// Tells whether a call was served.
pub(crate) fn served<B, E>(ended: &Result<Response<B>, E>) -> bool {
    matches!(ended, Ok(response) if response.status() == StatusCode::OK)
}

/// Tells whether a call was refused by a response.
pub(crate) fn refused<B, E>(ended: &Result<Response<B>, E>) -> bool {
    matches!(ended, Ok(response) if !response.status().is_success())
}

/// Tells whether a call was refused by an error.
pub(crate) fn failed<R, E>(ended: &Result<R, E>) -> bool {
    ended.is_err()
}

/// Calls a service one request after the other, bodies to their end.
pub(crate) fn calls<S, B>(
    name: &'static str,
    service: S,
    counts: impl Counts<Response<B>, S::Error>,
) -> Contender
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    B: http_body::Body + Unpin,
{
    on_one_thread(name, move |count| {
        drive(service.clone(), count, counts.clone())
    })
}

/// How many tasks call at a time in [`calls_of_two`].
pub(crate) const CALLERS: u64 = 2;

/// The same from two tasks on two threads; one iteration is a call of each.
pub(crate) fn calls_of_two<S, B>(
    name: &'static str,
    service: S,
    counts: impl Counts<Response<B>, S::Error>,
) -> Contender
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: http_body::Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    on_two_threads(name, move |count| {
        drive(service.clone(), count, counts.clone())
    })
}

async fn drive<S, B>(mut service: S, count: u64, counts: impl Counts<Response<B>, S::Error>) -> u64
where
    S: Service<Request<Body>, Response = Response<B>>,
    B: http_body::Body + Unpin,
{
    let mut seen = 0;
    for _ in 0..count {
        let ended = call(&mut service, ORDERS).await;
        seen += u64::from(counts(&ended));
        if let Ok(response) = ended {
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                black_box(&frame.is_ok());
            }
        }
    }
    seen
}

pub(crate) async fn call<S: Service<Request<Body>>>(
    service: &mut S,
    path: &'static str,
) -> Result<S::Response, S::Error> {
    service.ready().await?.call(request(path)).await
}

/// Fills all places of a service that has a [`Door`] behind it: calls it `times` times while the
/// door holds, and gives what keeps the places.
pub(crate) fn fill<S>(service: &S, door: &Door, times: usize) -> impl Sized + 'static
where
    S: Service<Request<Body>> + Clone + 'static,
{
    door.holds.store(true, Ordering::Relaxed);
    let held = beforehand(async {
        let mut held = Vec::new();
        for _ in 0..times {
            let mut service = service.clone();
            let mut inside = Box::pin(async move { call(&mut service, KEPT).await.is_ok() });
            let ended = poll_fn(|cx| Poll::Ready(inside.as_mut().poll(cx).is_ready())).await;
            assert!(!ended, "nobody is served while the door holds");
            held.push(inside);
        }
        held
    });
    door.holds.store(false, Ordering::Relaxed);
    held
}

/// As [`calls`], while places are kept.
pub(crate) fn calls_while<S, B>(
    name: &'static str,
    kept: impl Sized + 'static,
    service: S,
    counts: impl Counts<Response<B>, S::Error>,
) -> Contender
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + 'static,
    B: http_body::Body + Unpin,
{
    on_one_thread(name, move |count| {
        let _ = &kept;
        drive(service.clone(), count, counts.clone())
    })
}
