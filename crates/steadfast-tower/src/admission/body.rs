use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::permit::Held;

pin_project! {
    /// A response body that keeps the permit of its request until it has ended.
    #[derive(Debug)]
    pub struct AdmissionBody<B> {
        #[pin]
        body: B,
        held: Option<Held>,
    }
}

impl<B> AdmissionBody<B> {
    pub(super) fn new(body: B, held: Option<Held>) -> Self {
        Self { body, held }
    }
}

impl<B: Body> Body for AdmissionBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        // Not only at the drop: a server may keep the body until the last byte is sent.
        let over = match &frame {
            Some(Ok(_)) => this.body.is_end_stream(),
            Some(Err(_)) | None => true,
        };
        if over {
            this.held.take();
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
