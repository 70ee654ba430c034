use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http_body::Body;
use pin_project_lite::pin_project;
use steadfast_core::recover;

/// How much of an answer that is given up is read: 64 KiB, several times what an error page
/// has. Reading a little more than is wanted is cheaper than a new connection; much more is not.
const READ_BYTES_MAX: usize = 64 * 1024;

/// As what a frame counts at least: 256 bytes, so that empty frames have an end, too.
const FRAME_BYTES_MIN: usize = 256;

pin_project! {
    /// The rest of an answer that nobody wants: read until the wait is over, so that its
    /// connection serves the next attempt.
    pub(super) struct Rest<B> {
        // Absent once it has ended, was too long, failed or panicked.
        #[pin]
        body: Option<B>,
        left: usize,
    }

    impl<B> PinnedDrop for Rest<B> {
        fn drop(this: Pin<&mut Self>) {
            this.give_up();
        }
    }
}

impl<B> Rest<B> {
    pub(super) fn new(body: Option<B>) -> Self {
        Self {
            body,
            left: READ_BYTES_MAX,
        }
    }

    fn give_up(self: Pin<&mut Self>) {
        let mut body = self.project().body;
        // The hook reports a panic; the call goes on without it.
        let _ = recover(|| body.set(None));
    }
}

impl<B: Body> Rest<B> {
    /// Reads what is there.
    pub(super) fn read(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        loop {
            let this = self.as_mut().project();
            let Some(body) = this.body.as_pin_mut() else {
                return;
            };
            let size = match recover(|| body.poll_frame(cx)) {
                Ok(Poll::Pending) => return,
                Ok(Poll::Ready(Some(Ok(frame)))) => frame.data_ref().map_or(0, Buf::remaining),
                Ok(Poll::Ready(_)) | Err(_) => READ_BYTES_MAX,
            };
            *this.left = this.left.saturating_sub(size.max(FRAME_BYTES_MIN));
            if *this.left == 0 {
                self.as_mut().give_up();
            }
        }
    }
}
