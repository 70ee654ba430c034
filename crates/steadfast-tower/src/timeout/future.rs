use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;
use steadfast_core::Cause;
use steadfast_core::cancel;
use steadfast_core::clock::{self, Instant};
use steadfast_core::context::InContext;

use super::TimeoutBody;
use super::body::{BodyTimes, Pace};
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
        call: Call,
        body: BodyTimes,
        protocol: Protocol,
    ) -> Self {
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

/// How a call has ended.
pub(crate) enum CallEnded<Out, E> {
    /// By itself, at that time.
    Answered(Result<Response<Out>, E>, Instant),
    /// Its time was up.
    Cut(Rejection),
}

/// Polls a call, and drops it once it has ended.
pub(crate) fn poll_call<Fut, Out, E>(
    mut inner: Pin<&mut Option<InContext<Fut>>>,
    call: &mut Call,
    cx: &mut Context<'_>,
) -> Poll<CallEnded<Out, E>>
where
    Fut: Future<Output = Result<Response<Out>, E>>,
{
    let polled = call.work(|| {
        let running = inner.as_mut().as_pin_mut();
        running.expect("not polled after its end").poll(cx)
    });
    if let Poll::Ready(ended) = polled {
        let now = clock::now();
        match &ended {
            Ok(response) if is_stream(response) => call.streams(response.status(), now),
            Ok(response) => call.answered(Some(response.status()), now),
            Err(_) => call.answered(None, now),
        }
        inner.set(None);
        return Poll::Ready(CallEnded::Answered(ended, now));
    }
    ready!(call.poll_over(cx));
    let (given, rejection) = call.cut();
    cancel::dropping(Cause::Timeout(given), || inner.set(None));
    Poll::Ready(CallEnded::Cut(rejection))
}

impl<F, Fut, Out, E> Future for TimeoutFuture<F, Fut>
where
    F: Form,
    Fut: Future<Output = Result<Response<Out>, E>>,
    F::Body<Out>: Body,
{
    type Output = Result<Response<TimeoutBody<F::Body<Out>>>, F::Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (ended, now) = match this.state {
            State::Rejected(rejection) => {
                let rejection = rejection.take().expect("not polled after its end");
                (F::rejected(rejection, *this.protocol), clock::now())
            }
            State::Called(call) => match ready!(poll_call(this.inner, call, cx)) {
                CallEnded::Answered(answer, now) => (F::inner(answer), now),
                CallEnded::Cut(rejection) => (F::rejected(rejection, *this.protocol), clock::now()),
            },
        };
        let pace = Pace::new(*this.body, now);
        Poll::Ready(ended.map(|response| response.map(|body| TimeoutBody::new(body, pace))))
    }
}
