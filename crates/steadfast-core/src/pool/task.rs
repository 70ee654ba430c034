use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

pin_project! {
    /// Makes a future that cannot fail one that returns a result.
    pub(super) struct Succeeds<F> {
        #[pin]
        future: F,
    }
}

impl<F> Succeeds<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future> Future for Succeeds<F> {
    type Output = Result<F::Output, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(ready!(self.project().future.poll(cx))))
    }
}

/// Makes a closure a future that is ready at its first poll: so that a blocking task is a job
/// like any other.
pub(super) struct Call<G>(Option<G>);

impl<G> Call<G> {
    pub(super) fn new(closure: G) -> Self {
        Self(Some(closure))
    }
}

// The closure is moved out before it is called, and never pinned.
impl<G> Unpin for Call<G> {}

impl<R, G: FnOnce() -> R> Future for Call<G> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<R> {
        let closure = self.0.take();
        Poll::Ready(closure.expect("not polled after its end")())
    }
}
