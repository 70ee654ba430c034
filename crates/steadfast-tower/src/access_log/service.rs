use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::record::Record;
use super::{AccessLogBody, AccessLogFuture};

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

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        let mut record = Record::begin(&mut request);
        let asked = request.method().clone();
        let future = record.work(|| self.inner.call(request));
        AccessLogFuture::new(future, record, asked)
    }
}
