use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// Drives an inner service to ready, and calls that very instance.
    ///
    /// A layer that decides by the request is always ready itself, since whoever waits for its
    /// readiness does not say what for: waiters in front of it would be hidden from its decision.
    /// So it decides when it is called, and what it lets pass waits for the inner service here.
    pub struct WhenReady<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        state: State<S, R>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, R>
    where
        S: Service<R>,
    {
        // Boxed, because nearly every service is ready at once, and a request is large to carry
        // through all the layers outside.
        Waiting { called: Option<Box<(S, R)>> },
        Called { #[pin] future: S::Future },
        Failed { error: Option<S::Error> },
    }
}

impl<S: Service<R>, R> WhenReady<S, R> {
    /// Calls the service at the first poll that finds it ready.
    pub(crate) fn new(service: S, request: R) -> Self {
        let called = Some(Box::new((service, request)));
        Self {
            state: State::Waiting { called },
        }
    }

    /// Calls the service now if it is ready now.
    pub(crate) fn now(mut service: S, request: R) -> Self {
        // Whoever polls this asks again, with somebody to be woken.
        let mut nobody = Context::from_waker(Waker::noop());
        let state = match service.poll_ready(&mut nobody) {
            Poll::Ready(Ok(())) => State::Called {
                future: service.call(request),
            },
            Poll::Ready(Err(error)) => State::Failed { error: Some(error) },
            Poll::Pending => return Self::new(service, request),
        };
        Self { state }
    }

    /// Tells whether the inner service was called: one that fails before that was sent nothing.
    pub(crate) fn is_called(&self) -> bool {
        matches!(self.state, State::Called { .. })
    }
}

impl<S: Service<R>, R> Future for WhenReady<S, R> {
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let future = match state.as_mut().project() {
                Projected::Called { future } => return future.poll(cx),
                Projected::Failed { error } => {
                    return Poll::Ready(Err(error.take().expect(OVER)));
                }
                Projected::Waiting { called } => {
                    let (service, _) = &mut **called.as_mut().expect(OVER);
                    ready!(service.poll_ready(cx))?;
                    let (mut service, request) = *called.take().expect(OVER);
                    service.call(request)
                }
            };
            state.set(State::Called { future });
        }
    }
}

const OVER: &str = "not polled after an error";

impl<S: Service<R>, R> fmt::Debug for WhenReady<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhenReady")
            .field("called", &self.is_called())
            .finish()
    }
}
