use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::clock;

use crate::guard::seen::Open;

pin_project! {
    /// A response body that knows whether it is read.
    pub struct ServeBody<B> {
        #[pin]
        body: B,
        open: Open,
    }
}

impl<B> ServeBody<B> {
    pub(super) fn new(body: B, open: Open) -> Self {
        Self { body, open }
    }
}

impl<B: Body<Data = Bytes>> Body for ServeBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        // A server asks for the next frame once the client has taken those before.
        let unread = polled.is_ready().then(clock::nanos);
        this.open.note_unread(unread);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
