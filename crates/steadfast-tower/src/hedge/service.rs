use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use steadfast_core::decide::budget::Replay;
use steadfast_core::decide::hedge::HedgeCall;
use steadfast_core::{clock, context};
use tower_service::Service;

use super::future::Again;
use super::original::Original;
use super::shared::{Shared, Stop};
use super::{HedgeBody, HedgeFuture};
use crate::Classify;
use crate::breaker::Breakers;
use crate::ready::WhenReady;
use crate::replay::{self, Repeatable};

/// The service of [`HedgeLayer`](super::HedgeLayer).
pub struct Hedged<S, C> {
    inner: S,
    settings: Arc<Settings<C>>,
}

/// All that a service needs.
pub(crate) struct Settings<C> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) repeatable: Option<Repeatable>,
    /// Asked before a second attempt.
    pub(crate) breakers: Option<Breakers>,
    pub(crate) classifier: Arc<C>,
}

impl<S, C> Hedged<S, C> {
    pub(crate) fn new(inner: S, settings: Arc<Settings<C>>) -> Self {
        Self { inner, settings }
    }
}

impl<C> Settings<C> {
    /// Describes a call as far as its hedge depends on it.
    pub(super) fn describe(&self, head: &http::request::Parts, replay: Replay) -> HedgeCall {
        let breakers = self.breakers.as_ref();
        let closed = breakers.is_none_or(|breakers| breakers.welcomes(head));
        let call = HedgeCall::new(replay, closed);
        match context::current().deadline() {
            Some(deadline) => call.with_deadline(clock::nanos_at(deadline)),
            None => call,
        }
    }
}

impl<S, C, In, Out> Service<Request<In>> for Hedged<S, C>
where
    S: Service<Request<HedgeBody<In>>, Response = Response<Out>> + Clone,
    C: Classify<S::Error>,
    In: Body<Data = Bytes>,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = HedgeFuture<S, C, In, Out>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let settings = self.settings.clone();
        let shared = &settings.shared;
        let (head, body) = request.into_parts();
        let repeatable = settings.repeatable.as_ref();
        let replay = replay::of(&head, shared.honors_keys(), repeatable);
        if replay != Replay::Safe || !shared.is_there() {
            let request = Request::from_parts(head, HedgeBody::plain(body));
            let first = WhenReady::now(self.inner.clone(), request);
            return HedgeFuture::alone(first, settings, false);
        }
        let planned = shared.plan(&settings.describe(&head, replay));
        let request = match planned {
            Err(why) => {
                shared.stopped(Stop::Decided(why));
                Request::from_parts(head, HedgeBody::plain(body))
            }
            Ok(delay) => match HedgeBody::take(body) {
                Ok(frames) => {
                    let original = Original::new(head, frames);
                    let first = WhenReady::now(self.inner.clone(), original.request());
                    let service = self.inner.clone();
                    let again = Again { service, original };
                    return HedgeFuture::planned(first, again, delay, settings);
                }
                Err(body) => {
                    shared.stopped(Stop::Body);
                    Request::from_parts(head, body)
                }
            },
        };
        let first = WhenReady::now(self.inner.clone(), request);
        HedgeFuture::alone(first, settings, true)
    }
}

impl<C> Clone for Settings<C> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            repeatable: self.repeatable.clone(),
            breakers: self.breakers.clone(),
            classifier: self.classifier.clone(),
        }
    }
}

impl<S: Clone, C> Clone for Hedged<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: self.settings.clone(),
        }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Hedged<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hedged")
            .field("inner", &self.inner)
            .field("shared", &self.settings.shared)
            .finish()
    }
}
