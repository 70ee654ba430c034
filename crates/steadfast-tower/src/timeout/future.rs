use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use steadfast_core::Cause;
use steadfast_core::cancel;
use steadfast_core::context::InContext;

use super::TimeoutBody;
use super::body::BodyTimes;
use super::call::Call;
use crate::answer::Protocol;
use crate::streams::is_stream;
use crate::{Form, Rejection};

pin_project! {
    /// The future of [`Timeout`](super::Timeout).
    #[derive(Debug)]
    pub struct TimeoutFuture<F, Fut> {
        #[pin]
        inner: Option<InContext<Fut>>,
        state: State,
        body: BodyTimes,
        protocol: Protocol,
        form: PhantomData<fn() -> F>,
    }
}

#[derive(Debug)]
enum State {
    Called(Call),
    Rejected(Option<Rejection>),
}

impl<F, Fut> TimeoutFuture<F, Fut> {
    pub(super) fn called(
        inner: InContext<Fut>,
        mut call: Call,
        body: BodyTimes,
        protocol: Protocol,
    ) -> Self {
        call.at_work = false;
        Self {
            inner: Some(inner),
            state: State::Called(call),
            body,
            protocol,
            form: PhantomData,
        }
    }

    pub(super) fn rejected(rejection: Rejection, protocol: Protocol) -> Self {
        Self {
            inner: None,
            state: State::Rejected(Some(rejection)),
            body: BodyTimes::default(),
            protocol,
            form: PhantomData,
        }
    }
}

impl<F, Fut, Out, E> Future for TimeoutFuture<F, Fut>
where
    F: Form,
    Fut: Future<Output = Result<Response<Out>, E>>,
    F::Body<Out>: Body,
{
    type Output = Result<Response<TimeoutBody<F::Body<Out>>>, F::Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let ended = match this.state {
            State::Rejected(rejection) => {
                let rejection = rejection.take().expect("not polled after its end");
                F::rejected(rejection, *this.protocol)
            }
            State::Called(call) => {
                let inner = this.inner.as_mut().as_pin_mut();
                call.at_work = true;
                let polled = inner.expect("not polled after its end").poll(cx);
                call.at_work = false;
                match polled {
                    Poll::Ready(ended) => {
                        match &ended {
                            Ok(response) if is_stream(response) => call.streams(response.status()),
                            Ok(response) => call.answered(Some(response.status())),
                            Err(_) => call.answered(None),
                        }
                        this.inner.set(None);
                        F::inner(ended)
                    }
                    Poll::Pending => {
                        ready!(call.poll_over(cx));
                        let (given, rejection) = call.cut();
                        let cause = Cause::Timeout(given);
                        cancel::dropping(cause, || this.inner.set(None));
                        F::rejected(rejection, *this.protocol)
                    }
                }
            }
        };
        let times = *this.body;
        Poll::Ready(ended.map(|response| response.map(|body| TimeoutBody::new(body, times))))
    }
}
