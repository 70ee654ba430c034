use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::budget::Budget;
use super::future::Held;
use super::{StreamsBody, StreamsFuture};
use crate::AnswerFuture;
use crate::answer::Protocol;
use crate::ready::WhenReady;

/// The service of [`StreamsLayer`](super::StreamsLayer).
#[derive(Debug, Clone)]
pub struct Streams<S> {
    inner: S,
    budget: Arc<Budget>,
    /// Every answer is a stream; otherwise it turns out.
    all: bool,
}

impl<S> Streams<S> {
    pub(super) fn new(inner: S, budget: Arc<Budget>, all: bool) -> Self {
        Self { inner, budget, all }
    }
}

impl<S, In, Out> Service<Request<In>> for Streams<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone,
    Out: Body<Data = Bytes>,
{
    type Response = Response<StreamsBody<Out>>;
    type Error = S::Error;
    type Future = StreamsFuture<WhenReady<S, Request<In>>, Out>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let protocol = Protocol::of(request.headers());
        let held = match Held::take(&self.budget, self.all, request.extensions()) {
            Ok(held) => held,
            Err(rejection) => {
                let answer = AnswerFuture::own(rejection.answer_in(protocol));
                return StreamsFuture::new(answer, Held::Nothing, protocol);
            }
        };
        let passed = WhenReady::now(self.inner.clone(), request);
        StreamsFuture::new(AnswerFuture::inner(passed), held, protocol)
    }
}
