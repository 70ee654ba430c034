use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::handle::InFlight;
use crate::AnswerBody;

pin_project! {
    /// A response body whose request is in flight until its end.
    pub struct DrainBody<B> {
        #[pin]
        body: AnswerBody<B>,
        entered: Option<InFlight>,
    }
}

impl<B> DrainBody<B> {
    pub(super) fn new(body: AnswerBody<B>, entered: Option<InFlight>) -> Self {
        Self { body, entered }
    }
}

impl<B: Body<Data = Bytes>> Body for DrainBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = ready!(this.body.poll_frame(cx));
        if !matches!(polled, Some(Ok(_))) {
            // Its end, or its failure: nothing comes after either.
            *this.entered = None;
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
