use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::{Panic, recover};

use crate::AnswerBody;

pin_project! {
    /// A response body whose panics are contained: the one of a frame cuts the stream off.
    #[derive(Debug)]
    pub struct RecoverBody<B> {
        // Absent once it has panicked: nothing can be expected of it any more.
        #[pin]
        body: Option<AnswerBody<B>>,
    }

    impl<B> PinnedDrop for RecoverBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut body = this.project().body;
            // The hook has reported it; there is nobody to hand it to.
            let _ = recover(|| body.set(None));
        }
    }
}

impl<B> RecoverBody<B> {
    pub(crate) fn inner(body: B) -> Self {
        Self::own(AnswerBody::inner(body))
    }

    pub(crate) fn own(body: AnswerBody<B>) -> Self {
        Self { body: Some(body) }
    }
}

impl<B: Body<Data = Bytes>> Body for RecoverBody<B> {
    type Data = Bytes;
    type Error = RecoverBodyError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut body = self.project().body;
        let Some(running) = body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let panic = match recover(|| running.poll_frame(cx)) {
            Ok(polled) => return polled.map_err(RecoverBodyError::Inner),
            Err(panic) => panic,
        };
        let _ = recover(|| body.set(None));
        Poll::Ready(Some(Err(RecoverBodyError::Panicked(panic))))
    }

    fn is_end_stream(&self) -> bool {
        // Never "at its end" by mistake: the server would leave out what is to come.
        self.body
            .as_ref()
            .is_none_or(|body| recover(|| body.is_end_stream()).unwrap_or(false))
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(|body| recover(|| body.size_hint()));
        hint.and_then(Result::ok).unwrap_or_default()
    }
}

/// Why the body of a response is not whole.
#[derive(Debug, thiserror::Error)]
pub enum RecoverBodyError<E> {
    /// As the body says.
    #[error(transparent)]
    Inner(E),
    /// The body has panicked.
    #[error("the response body panicked")]
    Panicked(#[source] Panic),
}
