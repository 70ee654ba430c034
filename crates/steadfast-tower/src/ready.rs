use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

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
        Waiting { service: S, request: Option<R> },
        Called { #[pin] future: S::Future },
    }
}

impl<S: Service<R>, R> WhenReady<S, R> {
    pub(crate) fn new(service: S, request: R) -> Self {
        let request = Some(request);
        Self {
            state: State::Waiting { service, request },
        }
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
                Projected::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    service.call(request.take().expect("not polled after an error"))
                }
            };
            state.set(State::Called { future });
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for WhenReady<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhenReady")
            .field("called", &self.is_called())
            .finish()
    }
}
