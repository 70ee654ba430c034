use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Response, StatusCode};
use pin_project_lite::pin_project;

use super::DrainBody;
use super::handle::InFlight;
use crate::AnswerBody;

pin_project! {
    /// The future of [`Draining`](super::Draining).
    pub struct DrainFuture<F> {
        #[pin]
        answer: F,
        // Absent for a request that was rejected, and once the body has it.
        entered: Option<InFlight>,
        // The protocol has a header that says to leave.
        closes: bool,
    }
}

impl<F> DrainFuture<F> {
    pub(super) fn new(answer: F, entered: Option<InFlight>, closes: bool) -> Self {
        Self {
            answer,
            entered,
            closes,
        }
    }
}

/// Tells the client of an answer to leave with it, if it should.
pub(crate) fn tell_last<B>(entered: Option<&InFlight>, response: &mut Response<B>) {
    let last = entered.is_some_and(InFlight::is_last);
    // One that becomes another protocol says so in the same header.
    if last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
}

impl<F, B, E> Future for DrainFuture<F>
where
    F: Future<Output = Result<Response<AnswerBody<B>>, E>>,
{
    type Output = Result<Response<DrainBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        let entered = this.entered.take();
        let mut response = answer?;
        if *this.closes {
            tell_last(entered.as_ref(), &mut response);
        }
        Poll::Ready(Ok(response.map(|body| DrainBody::new(body, entered))))
    }
}
