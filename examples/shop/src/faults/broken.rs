//! Answers that begin well and break within.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use http_body::Frame;

use super::force;

/// A body of one frame, after which it breaks.
pub(super) struct Broken {
    panics: bool,
    begun: bool,
}

impl Broken {
    pub(super) fn panicking() -> Self {
        Self {
            panics: true,
            begun: false,
        }
    }

    /// Hyper closes the connection of a body that fails.
    pub(super) fn dropped() -> Self {
        Self {
            panics: false,
            begun: false,
        }
    }
}

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if !std::mem::replace(&mut self.begun, true) {
            return Poll::Ready(Some(Ok(Frame::data("it begins well\n".into()))));
        }
        if self.panics {
            force::panic("the body panics");
        }
        Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())))
    }
}
