//! Answers that begin well and break within.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use http_body::Frame;
use steadfast::clock::{Alarm, now};

use super::force;

/// How long after its begin an answer breaks: so that the begin has gone out.
const AFTER: Duration = Duration::from_millis(20);

/// A body of one frame, after which it breaks.
pub(super) struct Broken {
    panics: bool,
    /// When, once the first frame was given.
    at: Option<Alarm>,
}

impl Broken {
    pub(super) fn panicking() -> Self {
        Self {
            panics: true,
            at: None,
        }
    }

    /// Hyper closes the connection of a body that fails.
    pub(super) fn dropped() -> Self {
        Self {
            panics: false,
            at: None,
        }
    }
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(at) = &mut self.at else {
            self.at = Some(Alarm::new(now() + AFTER));
            return Poll::Ready(Some(Ok(Frame::data("it begins well\n".into()))));
        };
        ready!(at.poll_over(cx));
        if self.panics {
            force::panic("the body panics");
        }
        Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())))
    }
}
