use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::BoxError;

use super::recording::Recording;

pin_project! {
    /// The body of a request that may be sent more than once.
    pub struct RetryBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = Projected]
    enum Kind<B> {
        // Had ended before the first attempt.
        Empty,
        // Of a call that is not repeated.
        Once { #[pin] body: B },
        Recorded { recording: Arc<Recording<B>>, attempt: u8 },
    }
}

impl<B> RetryBody<B> {
    pub(super) fn empty() -> Self {
        Self { kind: Kind::Empty }
    }

    pub(super) fn once(body: B) -> Self {
        let kind = Kind::Once { body };
        Self { kind }
    }

    pub(super) fn recorded(recording: Arc<Recording<B>>, attempt: u8) -> Self {
        let kind = Kind::Recorded { recording, attempt };
        Self { kind }
    }
}

impl<B> Body for RetryBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = RetryBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RetryBodyError>>> {
        match self.project().kind.project() {
            Projected::Empty => Poll::Ready(None),
            Projected::Once { body } => body
                .poll_frame(cx)
                .map_err(|error| RetryBodyError::inner(error.into())),
            Projected::Recorded { recording, attempt } => recording.poll_frame(*attempt, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Once { body } => body.is_end_stream(),
            Kind::Recorded { recording, attempt } => recording.is_end_stream(*attempt),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Once { body } => body.size_hint(),
            Kind::Recorded { recording, attempt } => recording.size_hint(*attempt),
        }
    }
}

/// Why the body of a request could not be sent: it has failed itself, or its attempt was given
/// up for another one.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RetryBodyError(Kept);

#[derive(Debug, thiserror::Error)]
enum Kept {
    #[error(transparent)]
    Inner(BoxError),
    #[error("the attempt was given up, and its body is sent by another one")]
    Superseded,
    #[error("the body panicked at an earlier frame")]
    Broken,
}

impl RetryBodyError {
    /// Tells whether the attempt was given up: the body is whole, and sent elsewhere.
    pub fn is_superseded(&self) -> bool {
        matches!(self.0, Kept::Superseded)
    }

    pub(super) fn inner(error: BoxError) -> Self {
        Self(Kept::Inner(error))
    }

    pub(super) fn superseded() -> Self {
        Self(Kept::Superseded)
    }

    pub(super) fn broken() -> Self {
        Self(Kept::Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    /// What the client of hyper wants of a body.
    fn sent_by_hyper<B>(body: B) -> B
    where
        B: Body<Error: Into<BoxError>, Data: Send> + Send + Unpin + 'static,
    {
        body
    }

    #[test]
    fn usual_clients_take_it() {
        let whole = Full::new(Bytes::from("body"));
        let recording = Arc::new(Recording::new(whole.clone()));

        let once = sent_by_hyper(RetryBody::once(whole));
        let recorded = sent_by_hyper(RetryBody::recorded(recording, 1));

        assert_eq!(once.size_hint().exact(), Some(4));
        assert_eq!(recorded.size_hint().exact(), Some(4));
    }

    #[test]
    fn an_error_says_whose_it_is() {
        let inner = RetryBodyError::inner("the source failed".into());

        assert_eq!(inner.to_string(), "the source failed");
        assert!(!inner.is_superseded());
        assert!(RetryBodyError::superseded().is_superseded());
    }
}
