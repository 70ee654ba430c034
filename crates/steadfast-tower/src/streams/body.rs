use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::budget::Slot;
use crate::AnswerBody;

pin_project! {
    /// A response body that holds a connection of a budget until it has ended.
    #[derive(Debug)]
    pub struct StreamsBody<B> {
        #[pin]
        body: AnswerBody<B>,
        slot: Option<Slot>,
    }
}

impl<B> StreamsBody<B> {
    pub(super) fn new(body: AnswerBody<B>, slot: Option<Slot>) -> Self {
        Self { body, slot }
    }
}

impl<B: Body<Data = Bytes>> Body for StreamsBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = ready!(this.body.poll_frame(cx));
        if !matches!(polled, Some(Ok(_))) {
            // Its end, or its failure: a server may keep the body for longer.
            *this.slot = None;
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
