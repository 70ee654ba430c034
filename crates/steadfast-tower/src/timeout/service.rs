use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use steadfast_core::context;
use tower_service::Service;

use super::body::BodyTimes;
use super::call::Call;
use super::shared::Shared;
use super::{TimeoutBody, TimeoutFuture};
use crate::answer::Protocol;
use crate::guard::{Attempt, Attempts};
use crate::noted::Leaving;
use crate::ready::WhenReady;
use crate::{Form, Server};

/// The service of [`TimeoutLayer`](super::TimeoutLayer).
pub struct Timeout<S, F = Server> {
    inner: S,
    /// Absent where nothing but the deadline ends a call.
    shared: Option<Arc<Shared>>,
    body: BodyTimes,
    /// Where attempts are counted, if they are.
    attempts: Option<Arc<Attempts>>,
    form: PhantomData<fn() -> F>,
}

impl<S, F> Timeout<S, F> {
    pub(crate) fn new(inner: S, shared: Option<Arc<Shared>>, body: BodyTimes) -> Self {
        Self {
            inner,
            shared,
            body,
            attempts: None,
            form: PhantomData,
        }
    }

    /// Counts what it lets through, with the times that it reads anyway.
    pub(crate) fn counted(mut self, attempts: Arc<Attempts>) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Serves one request, and is used up by it.
    pub(crate) fn serve<In>(
        self,
        request: Request<In>,
    ) -> TimeoutFuture<F, Leaving<WhenReady<S, Request<In>>>>
    where
        S: Service<Request<In>>,
    {
        let protocol = Protocol::of(request.headers());
        let context = context::current();
        let attempts = self.attempts;
        let attempt = attempts.map(|attempts| Attempt::new(attempts, request.method()));
        let call = match Call::begin(self.shared, context.deadline(), attempt) {
            Ok(call) => call,
            Err(rejection) => return TimeoutFuture::rejected(rejection, protocol),
        };
        // Those inside know when nobody waits any more.
        let context = match call.ends_at() {
            Some(end) => context.with_deadline(end),
            None => context,
        };
        let mut context = context.captured();
        // Whatever the handler puts into this context, the line outside tells.
        let noted = request.extensions().get().cloned();
        let inner = context.enter(|| Leaving::new(WhenReady::now(self.inner, request), noted));
        TimeoutFuture::called(context.wrap(inner), call, self.body, protocol)
    }
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
        self.clone().serve(request)
    }
}

impl<S: Clone, F> Clone for Timeout<S, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
            body: self.body,
            attempts: self.attempts.clone(),
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
