use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use steadfast_core::context::{self, Name};
use steadfast_core::{Context as Facts, clock};
use tower_service::Service;

use super::Times;
use crate::answer::Protocol;
use crate::placed::Placed;
use crate::ready::WhenReady;
use crate::reject::soon;
use crate::{AnswerBody, AnswerFuture, PlacedBody, PlacedFuture, Reason, Rejection};

/// The service of [`DeadlineLayer`](super::DeadlineLayer).
#[derive(Debug, Clone)]
pub struct Deadline<S> {
    inner: S,
    times: Times,
}

/// The future of [`Deadline`].
pub type DeadlineFuture<S, R, B> = AnswerFuture<PlacedFuture<WhenReady<S, R>>, PlacedBody<B>>;

impl<S> Deadline<S> {
    pub(super) fn new(inner: S, times: Times) -> Self {
        Self { inner, times }
    }
}

impl<S, In, Out> Service<Request<In>> for Deadline<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone,
{
    type Response = Response<AnswerBody<PlacedBody<Out>>>;
    type Error = S::Error;
    type Future = DeadlineFuture<S, Request<In>, Out>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let now = clock::now();
        let (parts, body) = request.into_parts();
        let outside = context::current();
        // Too far away to be added is as good as none.
        let end = self.times.of(&parts).and_then(|time| now.checked_add(time));
        let inside = end.map_or(outside, |end| outside.with_deadline(end));
        if let Some(rejection) = passed(&inside, now) {
            return AnswerFuture::own(rejection.answer_in(Protocol::of(&parts.headers)));
        }
        let nearer = inside.deadline() != outside.deadline();
        let changed = nearer.then(|| inside.captured());
        let mut placed = Placed::within(changed, &parts.extensions);
        let request = Request::from_parts(parts, body);
        let passed = placed.enter(|| WhenReady::now(self.inner.clone(), request));
        AnswerFuture::inner(PlacedFuture::new(passed, placed))
    }
}

/// Gives the rejection of work that nobody waits for any more.
pub(crate) fn passed(context: &Facts, now: clock::Instant) -> Option<Rejection> {
    let late = now.checked_duration_since(context.deadline()?)?;
    Some(late_by(late, "deadline".into()))
}

/// Makes the rejection of work whose deadline has passed so long ago.
pub(crate) fn late_by(late: Duration, policy: Name) -> Rejection {
    Rejection::new(Reason::DeadlinePassed, policy)
        .with_bound(0.0, late.as_secs_f64(), "seconds past the deadline")
        .with_retry_after(soon())
}
