use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use steadfast_core::decide::budget::Failure;
use steadfast_core::{BoxError, clock};
use tower_service::Service;

use super::RetryBody;
use super::call::Call;
use super::original::Original;
use super::rest::Rest;
use super::settings::Settings;
use crate::classify::{self, CallEnd, Classify};
use crate::ready::WhenReady;

pin_project! {
    /// The future of [`Retry`](super::Retry).
    pub struct RetryFuture<S, C, In, Out>
    where
        S: Service<Request<RetryBody<In>>>,
    {
        #[pin]
        state: State<S, In, Out>,
        // Absent for a call that has one attempt.
        again: Option<Again<S, In>>,
        // Of the last attempt that may have done something.
        lost: Option<S::Error>,
        call: Call,
        settings: Arc<Settings<C>>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, In, Out>
    where
        S: Service<Request<RetryBody<In>>>,
    {
        Running { #[pin] attempt: WhenReady<S, Request<RetryBody<In>>> },
        Waiting { wait: Pin<Box<dyn Future<Output = ()> + Send>>, #[pin] rest: Rest<Out> },
    }
}

/// What a further attempt is made with.
pub(super) struct Again<S, In> {
    pub(super) service: S,
    pub(super) original: Original<In>,
}

impl<S, C, In, Out> RetryFuture<S, C, In, Out>
where
    S: Service<Request<RetryBody<In>>>,
{
    pub(super) fn new(
        service: S,
        request: Request<RetryBody<In>>,
        again: Option<Again<S, In>>,
        call: Call,
        settings: Arc<Settings<C>>,
    ) -> Self {
        let attempt = WhenReady::now(service, request);
        Self {
            state: State::Running { attempt },
            again,
            lost: None,
            call,
            settings,
        }
    }
}

impl<S, C, In, Out> Future for RetryFuture<S, C, In, Out>
where
    S: Service<Request<RetryBody<In>>, Response = Response<Out>> + Clone,
    C: Classify<S::Error>,
    In: Body<Data = Bytes>,
    In::Error: Into<BoxError>,
    Out: Body,
{
    type Output = Result<Response<Out>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                Projected::Running { mut attempt } => {
                    let answer = ready!(attempt.as_mut().poll(cx));
                    let called = attempt.is_called();
                    let (answer, end) = judge(&*this.settings.classifier, answer, called);
                    let original = this.again.as_ref().map(|again| &again.original);
                    let breakers = this.settings.hooks.breakers.as_ref();
                    let hinders = || original.and_then(|original| original.hinders(breakers));
                    let wait = this.call.ended(&end, hinders, &this.settings.shared);
                    match (wait, original) {
                        (Some(wait), Some(original)) => {
                            // What is given up gets no more of the body from here on.
                            original.rewind(this.call.attempt());
                            let (rest, error) = match answer {
                                Ok(response) => (Some(response.into_body()), None),
                                Err(error) => (None, Some(error)),
                            };
                            if error.is_some() && end.failure() != Some(Failure::Unsent) {
                                *this.lost = error;
                            }
                            waiting(wait, rest)
                        }
                        (_, original) => {
                            if let Some(original) = original {
                                original.settle();
                            }
                            // That the last attempt was not sent does not say that none was.
                            let unsent = end.failure() == Some(Failure::Unsent);
                            let lost = this.lost.take().filter(|_| unsent && answer.is_err());
                            return Poll::Ready(lost.map_or(answer, Err));
                        }
                    }
                }
                Projected::Waiting { wait, rest } => {
                    rest.read(cx);
                    ready!(wait.as_mut().poll(cx));
                    let again = this.again.as_ref();
                    let Again { service, original } = again.expect("there are several attempts");
                    let mark = this.call.mark();
                    let request = original.request(mark, this.call.attempt());
                    // Called at its first poll: by then the attempt before has released what it held.
                    let attempt = WhenReady::new(service.clone(), request);
                    State::Running { attempt }
                }
            };
            // What the attempt before has held is released here, before the next one needs it.
            this.state.set(next);
        }
    }
}

/// Looks at an answer, and gives it back.
fn judge<C, Out, E>(
    classifier: &C,
    answer: Result<Response<Out>, E>,
    called: bool,
) -> (Result<Response<Out>, E>, CallEnd)
where
    C: Classify<E>,
{
    match answer {
        Ok(response) => {
            let (head, body) = response.into_parts();
            let end = classify::contained(classifier, Ok(&head));
            (Ok(Response::from_parts(head, body)), end)
        }
        Err(error) => {
            let end = classify::contained(classifier, Err(&error));
            let unsent = !called && end.failure() == Some(Failure::Unknown);
            (Err(error), if unsent { end.unsent() } else { end })
        }
    }
}

fn waiting<S, In, Out>(wait: Duration, rest: Option<Out>) -> State<S, In, Out>
where
    S: Service<Request<RetryBody<In>>>,
{
    State::Waiting {
        wait: Box::pin(clock::sleep(wait)),
        rest: Rest::new(rest),
    }
}
