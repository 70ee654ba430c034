use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use steadfast_core::RecoverAsync;
use steadfast_core::recover_async;

use super::RecoverBody;
use crate::answer::{self, Protocol};

pin_project! {
    /// The future of [`Recover`](super::Recover).
    #[derive(Debug)]
    pub struct RecoverFuture<F> {
        #[pin]
        called: Option<RecoverAsync<F>>,
        protocol: Protocol,
    }
}

impl<F> RecoverFuture<F> {
    /// Without a future, the call has panicked.
    pub(super) fn new(called: Option<F>, protocol: Protocol) -> Self
    where
        F: Future,
    {
        Self {
            called: called.map(recover_async),
            protocol,
        }
    }
}

impl<F, Out, E> Future for RecoverFuture<F>
where
    F: Future<Output = Result<Response<Out>, E>>,
    Out: Body<Data = Bytes>,
{
    type Output = Result<Response<RecoverBody<Out>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = match this.called.as_pin_mut() {
            Some(called) => ready!(called.poll(cx)).ok(),
            None => None,
        };
        Poll::Ready(match outcome {
            Some(Ok(response)) => Ok(response.map(RecoverBody::inner)),
            Some(Err(error)) => Err(error),
            None => Ok(answer::panicked(*this.protocol).map(RecoverBody::own)),
        })
    }
}
