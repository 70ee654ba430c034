use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::guard::seen::Open;
use crate::recover::{RecoverBody, RecoverBodyError};
use crate::{HeldBody, PlacedBody};

/// What is sent: made in the trace of its request, known to be read or not, and cut off where it
/// panics.
pub(super) type ServeBody<B> = PlacedBody<HeldBody<CaughtBody<B>, Open>>;

pin_project! {
    /// A response body whose panics break nothing but itself.
    pub(super) struct CaughtBody<B> {
        #[pin]
        body: RecoverBody<B>,
    }
}

impl<B> CaughtBody<B> {
    pub(super) fn new(body: RecoverBody<B>) -> Self {
        Self { body }
    }
}

impl<B> Body for CaughtBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = self.project().body.poll_frame(cx);
        polled.map_err(|error| match error {
            RecoverBodyError::Inner(error) => error.into(),
            RecoverBodyError::Panicked(panic) => {
                RecoverBodyError::<Infallible>::Panicked(panic).into()
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
