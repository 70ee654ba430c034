use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::DrainBody;
use super::handle::InFlight;
use crate::AnswerFuture;
use crate::ready::WhenReady;

pin_project! {
    /// The future of [`Draining`](super::Draining).
    pub struct DrainFuture<S, R, B>
    where
        S: Service<R>,
    {
        #[pin]
        answer: AnswerFuture<WhenReady<S, R>, B>,
        // Absent for a request that was rejected, and once the body has it.
        entered: Option<InFlight>,
        // The protocol has a header that says to leave.
        closes: bool,
    }
}

impl<S: Service<R>, R, B> DrainFuture<S, R, B> {
    pub(super) fn new(
        answer: AnswerFuture<WhenReady<S, R>, B>,
        entered: Option<InFlight>,
        closes: bool,
    ) -> Self {
        Self {
            answer,
            entered,
            closes,
        }
    }
}

impl<S, R, B> Future for DrainFuture<S, R, B>
where
    S: Service<R, Response = Response<B>>,
{
    type Output = Result<Response<DrainBody<B>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        let entered = this.entered.take();
        let mut response = answer?;
        let last = entered.as_ref().is_some_and(InFlight::is_last);
        // One that becomes another protocol says so in the same header.
        if last && *this.closes && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Poll::Ready(Ok(response.map(|body| DrainBody::new(body, entered))))
    }
}
