use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::clock;

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

/// A call whose end is told by its body.
#[derive(Debug)]
pub(crate) struct Telling {
    pass: Pass,
    /// Until the head of the response.
    took: Duration,
}

impl Telling {
    pub(super) fn new(pass: Pass, took: Duration) -> Self {
        Self { pass, took }
    }

    /// Takes notice of what a poll of the body has given; nothing is left once the end was told.
    pub(crate) fn polled<D, E>(telling: &mut Option<Self>, polled: &Option<Result<Frame<D>, E>>) {
        let Some(Self { pass, .. }) = telling else {
            return;
        };
        // A stream may live for longer than a round of probes, and its status tells how that life has
        // ended. That the endpoint works again, its first message tells.
        let told = CallEnd::of_frame(polled.as_ref());
        if let Some(end) = told.or_else(|| pass.is_probe().then(CallEnd::success))
            && let Some(Self { pass, took }) = telling.take()
        {
            pass.ended(&end, took, clock::nanos());
        }
    }
}

impl<B> BreakerBody<B> {
    pub(super) fn new(body: B, telling: Option<Telling>) -> Self {
        Self { body, telling }
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
        Telling::polled(this.telling, &frame);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
