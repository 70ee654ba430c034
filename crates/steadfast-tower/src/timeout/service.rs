use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use steadfast_core::context::InContext;
use steadfast_core::{Context as Facts, clock, context};
use tower_service::Service;

use super::body::BodyTimes;
use super::call::Call;
use super::shared::Shared;
use super::{TimeoutBody, TimeoutFuture};
use crate::answer::Protocol;
use crate::noted::{Leaving, Noted};
use crate::ready::WhenReady;
use crate::{Form, Server};

/// The service of [`TimeoutLayer`](super::TimeoutLayer).
pub struct Timeout<S, F = Server> {
    inner: S,
    /// Absent where nothing but the deadline ends a call.
    shared: Option<Arc<Shared>>,
    body: BodyTimes,
    form: PhantomData<fn() -> F>,
}

impl<S, F> Timeout<S, F> {
    pub(crate) fn new(inner: S, shared: Option<Arc<Shared>>, body: BodyTimes) -> Self {
        Self {
            inner,
            shared,
            body,
            form: PhantomData,
        }
    }
}

/// What a call runs in: it knows when nobody waits any more.
pub(crate) type Timed<S, R> = InContext<Leaving<WhenReady<S, R>>>;

/// Sends a request whose call has begun, in the context of this place.
pub(crate) fn send<S, In>(
    call: &mut Call,
    context: Facts,
    inner: S,
    request: Request<In>,
) -> Timed<S, Request<In>>
where
    S: Service<Request<In>>,
{
    let context = match call.ends_at() {
        Some(end) => context.with_deadline(end),
        None => context,
    };
    let mut context = context.captured();
    // Whatever the handler puts into this context, the line outside tells.
    let noted = Noted::wanting_left(request.extensions());
    let inner = call.work(|| context.enter(|| Leaving::new(WhenReady::now(inner, request), noted)));
    context.wrap(inner)
}

impl<S, F, In, Out> Service<Request<In>> for Timeout<S, F>
where
    F: Form,
    S: Service<Request<In>, Response = Response<Out>> + Clone,
    F::Body<Out>: Body,
{
    type Response = Response<TimeoutBody<F::Body<Out>>>;
    type Error = F::Error<S::Error>;
    type Future = TimeoutFuture<F, Leaving<WhenReady<S, Request<In>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The time runs while the inner service is not ready, too.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let protocol = Protocol::of(request.headers());
        let context = context::current();
        let deadline = context.deadline();
        let mut call = match Call::begin(self.shared.clone(), deadline, None, clock::now()) {
            Ok(call) => call,
            Err(rejection) => return TimeoutFuture::rejected(rejection, protocol),
        };
        let inner = send(&mut call, context, self.inner.clone(), request);
        TimeoutFuture::called(inner, call, self.body, protocol)
    }
}

impl<S: Clone, F> Clone for Timeout<S, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            body: self.body,
            form: PhantomData,
        }
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Timeout<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("inner", &self.inner)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}
