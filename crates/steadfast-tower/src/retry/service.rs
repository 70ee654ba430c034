use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use steadfast_core::BoxError;
use tower_service::Service;

use super::call::Call;
use super::future::Again;
use super::original::Original;
use super::settings::Settings;
use super::{RetryBody, RetryFuture};
use crate::Classify;

/// The service of [`RetryLayer`](super::RetryLayer).
pub struct Retry<S, C> {
    inner: S,
    settings: Arc<Settings<C>>,
}

impl<S, C> Retry<S, C> {
    pub(crate) fn new(inner: S, settings: Arc<Settings<C>>) -> Self {
        Self { inner, settings }
    }
}

impl<S, C, In, Out> Service<Request<In>> for Retry<S, C>
where
    S: Service<Request<RetryBody<In>>, Response = Response<Out>> + Clone,
    C: Classify<S::Error>,
    In: Body<Data = Bytes>,
    In::Error: Into<BoxError>,
    Out: Body,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = RetryFuture<S, C, In, Out>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let settings = self.settings.clone();
        let (head, body) = request.into_parts();
        let call = Call::of(&head, &settings.shared, &settings.hooks);
        settings.shared.tally.called();
        let mark = call.mark();
        let service = self.inner.clone();
        let (request, again) = if call.may_be_repeated() {
            let original = Original::new(head, body);
            let request = original.request(mark, call.attempt());
            let service = service.clone();
            (request, Some(Again { service, original }))
        } else {
            (Original::once(head, body, mark), None)
        };
        RetryFuture::new(service, request, again, call, settings)
    }
}

impl<S: Clone, C> Clone for Retry<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: self.settings.clone(),
        }
    }
}

impl<S: std::fmt::Debug, C> std::fmt::Debug for Retry<S, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retry")
            .field("name", &self.settings.shared.name)
            .field("inner", &self.inner)
            .finish()
    }
}
