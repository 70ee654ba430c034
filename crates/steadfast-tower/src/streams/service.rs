use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::budget::{Budget, Connection};
use super::future::Held;
use super::{StreamsBody, StreamsFuture};
use crate::AnswerFuture;
use crate::answer::Protocol;
use crate::ready::WhenReady;

/// The service of [`StreamsLayer`](super::StreamsLayer).
#[derive(Debug, Clone)]
pub struct Streams<S> {
    inner: S,
    /// Absent where nobody counts.
    budget: Option<Arc<Budget>>,
    /// Every answer is a stream; otherwise it turns out.
    all: bool,
}

impl<S> Streams<S> {
    pub(crate) fn new(inner: S, budget: Option<Arc<Budget>>, all: bool) -> Self {
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
        let connection = || request.extensions().get::<Connection>().cloned();
        let held = match &self.budget {
            None => Held::Nothing,
            Some(budget) if !self.all => Held::Perhaps(budget.clone(), connection()),
            Some(budget) => match budget.open() {
                Ok(Some(slot)) => Held::Slot(slot, connection()),
                Ok(None) => Held::Nothing,
                Err(rejection) => {
                    let answer = AnswerFuture::own(rejection.answer_in(protocol));
                    return StreamsFuture::new(answer, Held::Nothing, protocol);
                }
            },
        };
        let passed = WhenReady::now(self.inner.clone(), request);
        StreamsFuture::new(AnswerFuture::inner(passed), held, protocol)
    }
}
