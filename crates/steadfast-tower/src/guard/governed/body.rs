use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{Held, State};
use crate::AnswerBody;
use crate::timeout::TimeoutBodyError;

pin_project! {
    /// A response body that holds what its request does until it has ended.
    pub struct GovernedBody<B> {
        // Absent once it is dropped.
        #[pin]
        body: Option<AnswerBody<B>>,
        state: Box<State>,
    }

    impl<B> PinnedDrop for GovernedBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.state.abandon(|| this.body.set(None));
        }
    }
}

impl<B> GovernedBody<B> {
    pub(super) fn new(body: AnswerBody<B>, state: Box<State>) -> Self {
        let body = Some(body);
        Self { body, state }
    }
}

impl<B: Body<Data = Bytes>> Body for GovernedBody<B> {
    type Data = Bytes;
    type Error = TimeoutBodyError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut this = self.project();
        let state = &mut **this.state;
        let (polled, at_end) = ready!(state.work(|state| {
            let mut body = this
                .body
                .as_mut()
                .as_pin_mut()
                .expect("there until the drop");
            let polled = ready!(state.pace.poll_frame(body.as_mut(), cx));
            Poll::Ready((polled, state.pace.is_over() || body.is_end_stream()))
        }));
        // Not only at the drop: a server may keep the body until the last byte is sent.
        if at_end || !matches!(polled, Some(Ok(_))) {
            state.held = Held::default();
        }
        state.sending.polled(&polled, at_end);
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        let body = self.body.as_ref();
        self.state.pace.is_over() || body.is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(SizeHint::default, |body| body.size_hint())
    }
}
