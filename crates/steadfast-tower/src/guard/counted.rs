//! How the calls of a dependency end, each counted once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::clock;

use super::dependency::Dependency;
use crate::CallEnd;

/// Counts how a call has ended, also when it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    dependency: Arc<Dependency>,
    since: u64,
    is_over: bool,
}

impl Counted {
    pub(super) fn begin(dependency: Arc<Dependency>, since: u64) -> Self {
        Self {
            dependency,
            since,
            is_over: false,
        }
    }

    pub(super) fn ended(mut self, end: &CallEnd) {
        self.is_over = true;
        self.dependency.ended(Some(end), self.took());
    }

    fn took(&self) -> Duration {
        Duration::from_nanos(clock::nanos().saturating_sub(self.since))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.is_over {
            self.dependency.ended(None, self.took());
        }
    }
}

pin_project! {
    /// The body of a call. One of gRPC has its status at the end, and is counted there.
    #[derive(Debug)]
    pub struct CountedBody<B> {
        #[pin]
        body: B,
        // Until the status is there.
        telling: Option<Counted>,
    }
}

impl<B> CountedBody<B> {
    pub(super) fn plain(body: B) -> Self {
        Self {
            body,
            telling: None,
        }
    }

    pub(super) fn telling(body: B, counted: Counted) -> Self {
        Self {
            body,
            telling: Some(counted),
        }
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let Some(end) = CallEnd::of_frame(frame.as_ref())
            && let Some(counted) = this.telling.take()
        {
            counted.ended(&end);
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
