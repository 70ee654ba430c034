use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use steadfast_core::clock::{self, Alarm};
use steadfast_core::context::Name;
use steadfast_core::decide::budget::Replay;
use steadfast_core::{Cause, cancel, recover};
use tower_service::Service;

use super::HedgeBody;
use super::original::Original;
use super::service::Settings;
use super::shared::Stop;
use crate::classify::{self, Classify};
use crate::ready::WhenReady;

/// Why the attempt that lost is dropped.
const LOST: Cause = Cause::Requested(Name::new("hedge"));

pin_project! {
    /// The future of [`Hedged`](super::Hedged).
    pub struct HedgeFuture<S, C, In, Out>
    where
        S: Service<Request<HedgeBody<In>>>,
        In: Body,
    {
        // Each attempt is absent before it begins, and once it has ended.
        #[pin]
        first: Option<WhenReady<S, Request<HedgeBody<In>>>>,
        // Boxed, because few calls have one.
        second: Option<Pin<Box<WhenReady<S, Request<HedgeBody<In>>>>>>,
        // What the first attempt gave, for as long as the second may give something better; and what
        // the second gave in vain. Boxed, because few calls have it.
        failed: Option<Box<Failed<Out, S::Error>>>,
        // Absent where there is no second attempt, or none any more.
        planned: Option<Box<Planned<S>>>,
        since: u64,
        // Whether something is learned from the call; it has begun at zero otherwise.
        counts: bool,
        settings: Arc<Settings<C>>,
    }
}

/// Answers that are nobody's yet.
struct Failed<Out, E> {
    first: Option<Result<Response<Out>, E>>,
    second: Option<Result<Response<Out>, E>>,
}

impl<Out, E> Default for Failed<Out, E> {
    fn default() -> Self {
        Self {
            first: None,
            second: None,
        }
    }
}

/// What a second attempt is made with, and when.
struct Planned<S> {
    again: Again<S>,
    alarm: Alarm,
}

pub(super) struct Again<S> {
    pub(super) service: S,
    pub(super) original: Original,
}

/// Which attempt gave an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Second,
}

impl<S, C, In, Out> HedgeFuture<S, C, In, Out>
where
    S: Service<Request<HedgeBody<In>>>,
    In: Body,
{
    /// One attempt and no other.
    pub(super) fn alone(
        first: WhenReady<S, Request<HedgeBody<In>>>,
        settings: Arc<Settings<C>>,
        counts: bool,
    ) -> Self {
        Self::new(first, None, settings, counts)
    }

    /// A second one if there is no answer after `delay`.
    pub(super) fn planned(
        first: WhenReady<S, Request<HedgeBody<In>>>,
        again: Again<S>,
        delay: Duration,
        settings: Arc<Settings<C>>,
    ) -> Self {
        let alarm = Alarm::new(clock::now() + delay);
        let planned = Box::new(Planned { again, alarm });
        Self::new(first, Some(planned), settings, true)
    }

    fn new(
        first: WhenReady<S, Request<HedgeBody<In>>>,
        planned: Option<Box<Planned<S>>>,
        settings: Arc<Settings<C>>,
        counts: bool,
    ) -> Self {
        Self {
            first: Some(first),
            second: None,
            failed: None,
            planned,
            since: if counts { clock::nanos() } else { 0 },
            counts,
            settings,
        }
    }
}

impl<S, C, In, Out> Future for HedgeFuture<S, C, In, Out>
where
    S: Service<Request<HedgeBody<In>>, Response = Response<Out>> + Clone,
    C: Classify<S::Error>,
    In: Body<Data = Bytes>,
{
    type Output = Result<Response<Out>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(answer) = self.as_mut().poll_attempt(Which::First, cx) {
            return Poll::Ready(answer);
        }
        if self.as_mut().poll_planned(cx).is_pending() {
            return Poll::Pending;
        }
        if let Some(answer) = self.as_mut().poll_attempt(Which::Second, cx) {
            return Poll::Ready(answer);
        }
        Poll::Pending
    }
}

impl<S, C, In, Out> HedgeFuture<S, C, In, Out>
where
    S: Service<Request<HedgeBody<In>>, Response = Response<Out>> + Clone,
    C: Classify<S::Error>,
    In: Body<Data = Bytes>,
{
    /// Polls an attempt, and gives the answer of the call if that is decided now.
    fn poll_attempt(
        self: Pin<&mut Self>,
        which: Which,
        cx: &mut Context<'_>,
    ) -> Option<Result<Response<Out>, S::Error>> {
        let this = self.project();
        let (mut first, second) = (this.first, this.second);
        let polled = match which {
            Which::First => first.as_mut().as_pin_mut()?.poll(cx),
            Which::Second => second.as_mut()?.as_mut().poll(cx),
        };
        let Poll::Ready(answer) = polled else {
            return None;
        };
        match which {
            Which::First => first.set(None),
            Which::Second => *second = None,
        }
        let has_other = first.is_some() || second.is_some();
        // Whoever fails before its time is not hedged: that is for retries.
        *this.planned = None;
        let (answer, success) = judge(&*this.settings.classifier, answer);
        if !success && has_other {
            // The other one may do better.
            let failed = this.failed.get_or_insert_default();
            match which {
                Which::First => failed.first = Some(answer),
                Which::Second => failed.second = Some(answer),
            }
            return None;
        }
        if has_other {
            // The hook reports a panic; the answer is there all the same.
            let _ = recover(|| {
                cancel::dropping(LOST, || {
                    first.set(None);
                    *second = None;
                });
            });
        }
        if success && *this.counts {
            let shared = &this.settings.shared;
            shared.answered(*this.since, which == Which::Second);
        }
        let earlier = this.failed.take().and_then(|failed| failed.first);
        // Of two that have failed, the one that there would be without a hedge.
        let answer = match success {
            true => answer,
            false => earlier.unwrap_or(answer),
        };
        Some(answer)
    }

    /// Sends the second attempt if it is time; ready once there is one.
    fn poll_planned(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let Some(planned) = this.planned else {
            return Poll::Ready(());
        };
        if planned.alarm.poll_over(cx).is_pending() {
            return Poll::Pending;
        }
        let Some(planned) = this.planned.take() else {
            return Poll::Ready(());
        };
        let Again { service, original } = planned.again;
        // Asked anew: the breaker may have tripped meanwhile.
        let call = this.settings.describe(&original.head, Replay::Safe);
        match this.settings.shared.send(&call) {
            Ok(()) => {
                let request = original.request();
                *this.second = Some(Box::pin(WhenReady::now(service, request)));
            }
            Err(why) => this.settings.shared.stopped(Stop::Decided(why)),
        }
        Poll::Ready(())
    }
}

/// Looks at an answer, and gives it back; a failure is what another attempt may do better.
fn judge<C, Out, E>(
    classifier: &C,
    answer: Result<Response<Out>, E>,
) -> (Result<Response<Out>, E>, bool)
where
    C: Classify<E>,
{
    match answer {
        Ok(response) => {
            let (head, body) = response.into_parts();
            let end = classify::contained(classifier, Ok(&head));
            (Ok(Response::from_parts(head, body)), end.is_success())
        }
        Err(error) => {
            let end = classify::contained(classifier, Err(&error));
            (Err(error), end.is_success())
        }
    }
}
