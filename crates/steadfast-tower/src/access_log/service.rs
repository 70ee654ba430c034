use std::task::{Context, Poll};

use http::{Request, Response};
use steadfast_core::{clock, context};
use tower_service::Service;

use super::body::Asked;
use super::record::Record;
use super::{AccessLogBody, AccessLogFuture};
use crate::guard::Probe;

/// The service of [`AccessLogLayer`](super::AccessLogLayer).
#[derive(Debug, Clone)]
pub struct AccessLog<S> {
    inner: S,
}

impl<S> AccessLog<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, In, Out> Service<Request<In>> for AccessLog<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    Out: http_body::Body,
{
    type Response = Response<AccessLogBody<Out>>;
    type Error = S::Error;
    type Future = AccessLogFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let asked = Asked::of(&parts.method);
        // A question to the guard is nobody's request.
        let is_told = parts.extensions.get::<Probe>().is_none();
        let mut record = Record::begin(
            (&parts.method, &parts.uri),
            &mut parts.extensions,
            &context::current(),
            clock::now(),
            is_told,
        );
        let request = Request::from_parts(parts, body);
        let future = record.work(|| self.inner.call(request));
        AccessLogFuture::new(future, record, asked)
    }
}
