use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of the inner service's response, or of one that a layer gave in its place.
    #[derive(Debug)]
    pub struct AnswerBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Kind<B> {
        Inner { #[pin] body: B },
        // All of it, until it is sent.
        Own { body: Option<Bytes> },
    }
}

impl<B> AnswerBody<B> {
    /// Wraps the body of an inner service.
    pub fn inner(body: B) -> Self {
        let kind = Kind::Inner { body };
        Self { kind }
    }

    /// Makes a body that is there as a whole.
    pub fn whole(body: Bytes) -> Self {
        let body = Some(body).filter(|body| !body.is_empty());
        let kind = Kind::Own { body };
        Self { kind }
    }
}

impl<B: Body<Data = Bytes>> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            Projected::Inner { body } => body.poll_frame(cx),
            Projected::Own { body } => Poll::Ready(body.take().map(Frame::data).map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Own { body } => body.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Own { body } => {
                SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_body_tells_its_size_and_ends_once_sent() {
        let mut body: AnswerBody<http_body_util::Empty<Bytes>> = AnswerBody::whole("abc".into());
        assert_eq!(body.size_hint().exact(), Some(3));

        let mut cx = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else {
            panic!("it is there");
        };

        assert_eq!(frame.into_data().unwrap(), "abc");
        assert!(body.is_end_stream());
    }
}
