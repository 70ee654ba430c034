//! What is held until the body of an answer has ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// What somebody holds for as long as the body of a response lasts: given back when it is dropped.
pub trait Hold {
    /// Hears whether the body had something to give when it was asked.
    fn asked(&mut self, has_given: bool) {
        let _ = has_given;
    }
}

pin_project! {
    /// A response body that holds something until it has ended: a permit, a place among the requests
    /// in flight, a connection of a budget.
    #[derive(Debug)]
    pub struct HeldBody<B, H> {
        #[pin]
        body: B,
        held: Option<H>,
    }
}

impl<B, H> HeldBody<B, H> {
    pub(crate) fn new(body: B, held: Option<H>) -> Self {
        Self { body, held }
    }
}

impl<B: Body, H: Hold> Body for HeldBody<B, H> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let polled = this.body.as_mut().poll_frame(cx);
        let Some(held) = this.held else {
            return polled;
        };
        held.asked(polled.is_ready());
        // Not only at the drop: a server may keep the body until the last byte is sent.
        let is_over = match &polled {
            Poll::Pending => false,
            Poll::Ready(Some(Ok(_))) => this.body.is_end_stream(),
            Poll::Ready(Some(Err(_)) | None) => true,
        };
        if is_over {
            *this.held = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;

    /// Gives what it is told to; `Ok(None)` is a wait.
    struct Scripted {
        frames: VecDeque<io::Result<Option<&'static str>>>,
        knows_its_end: bool,
    }

    impl Body for Scripted {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            match self.frames.pop_front() {
                None => Poll::Ready(None),
                Some(Ok(None)) => Poll::Pending,
                Some(Ok(Some(data))) => Poll::Ready(Some(Ok(Frame::data(data.into())))),
                Some(Err(error)) => Poll::Ready(Some(Err(error))),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.knows_its_end && self.frames.is_empty()
        }
    }

    struct Noted {
        asked: Vec<bool>,
        _marker: Arc<()>,
    }

    impl Noted {
        fn new(marker: &Arc<()>) -> Self {
            Self {
                asked: Vec::new(),
                _marker: marker.clone(),
            }
        }
    }

    impl Hold for Noted {
        fn asked(&mut self, has_given: bool) {
            self.asked.push(has_given);
        }
    }

    /// Asks a body so often, and tells each time whether something is held after that.
    #[track_caller]
    fn check(
        frames: impl IntoIterator<Item = io::Result<Option<&'static str>>>,
        knows_its_end: bool,
        held_after: &[bool],
    ) {
        let marker = Arc::new(());
        let scripted = Scripted {
            frames: frames.into_iter().collect(),
            knows_its_end,
        };
        let mut body = HeldBody::new(scripted, Some(Noted::new(&marker)));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let held = held_after.iter().map(|_| {
            let _ = Pin::new(&mut body).poll_frame(&mut cx);
            Arc::strong_count(&marker) == 2
        });
        assert_eq!(held.collect::<Vec<_>>(), held_after);
    }

    #[test]
    fn what_is_held_is_given_back_with_the_last_frame_the_end_or_an_error() {
        let frame = || Ok(Some("frame"));
        check([frame(), frame()], true, &[true, false]);
        check([frame(), frame()], false, &[true, true, false]);
        check([Ok(None), frame()], true, &[true, false]);
        check(
            [frame(), Err(io::Error::other("broken"))],
            false,
            &[true, false],
        );
    }

    #[test]
    fn what_is_held_hears_whether_the_body_gives_something() {
        let frames = VecDeque::from([Ok(None), Ok(Some("frame")), Ok(None)]);
        let scripted = Scripted {
            frames,
            knows_its_end: false,
        };
        let mut body = HeldBody::new(scripted, Some(Noted::new(&Arc::default())));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..3 {
            let _ = Pin::new(&mut body).poll_frame(&mut cx);
        }

        assert_eq!(body.held.unwrap().asked, [false, true, false]);
    }
}
