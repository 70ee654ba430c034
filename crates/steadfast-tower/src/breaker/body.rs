use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::pass::Pass;
use crate::CallEnd;

pin_project! {
    /// A response body that tells the breaker the status of a call of gRPC, which comes in the
    /// trailers.
    #[derive(Debug)]
    pub struct BreakerBody<B> {
        #[pin]
        body: B,
        // Until the status is there. What is dropped before has shown nothing.
        telling: Option<Telling>,
    }
}

#[derive(Debug)]
struct Telling {
    pass: Pass,
    /// Until the head of the response.
    took: Duration,
}

impl<B> BreakerBody<B> {
    pub(super) fn plain(body: B) -> Self {
        Self {
            body,
            telling: None,
        }
    }

    pub(super) fn telling(body: B, pass: Pass, took: Duration) -> Self {
        Self {
            body,
            telling: Some(Telling { pass, took }),
        }
    }
}

impl<B: Body> Body for BreakerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        let telling = this.telling.as_ref();
        let is_probe = telling.is_some_and(|telling| telling.pass.is_probe());
        // A stream may live for longer than a round of probes, and its status tells how that life has
        // ended. That the endpoint works again, its first message tells.
        let told = CallEnd::of_frame(frame.as_ref());
        if let Some(end) = told.or_else(|| is_probe.then(CallEnd::success))
            && let Some(Telling { pass, took }) = this.telling.take()
        {
            pass.ended(&end, took);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
