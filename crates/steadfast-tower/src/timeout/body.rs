use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::clock::{self, Alarm, Instant};

/// How long a body may take.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BodyTimes {
    pub(crate) idle: Option<Duration>,
    pub(crate) total: Option<Duration>,
}

pin_project! {
    /// A response body that is not waited for without end.
    #[derive(Debug)]
    pub struct TimeoutBody<B> {
        #[pin]
        body: B,
        times: BodyTimes,
        since: Instant,
        // Set while a frame is waited for.
        alarm: Option<Alarm>,
        over: bool,
    }
}

/// Why the body of a response is not whole.
#[derive(Debug, thiserror::Error)]
pub enum TimeoutBodyError<E> {
    /// As the body says.
    #[error(transparent)]
    Inner(E),
    /// No frame came for this long.
    #[error("no frame of the body came within {0:?}")]
    Idle(Duration),
    /// The body was not at its end after this long.
    #[error("the body was not at its end after {0:?}")]
    Total(Duration),
}

impl<B> TimeoutBody<B> {
    pub(super) fn new(body: B, times: BodyTimes) -> Self {
        Self {
            body,
            times,
            since: clock::now(),
            alarm: None,
            over: false,
        }
    }
}

impl BodyTimes {
    /// Gives until when the next frame is waited for.
    fn until(&self, since: Instant, now: Instant) -> Option<Instant> {
        let idle = self.idle.map(|idle| now + idle);
        let total = self.total.map(|total| since + total);
        [idle, total].into_iter().flatten().min()
    }
}

impl<B: Body> Body for TimeoutBody<B> {
    type Data = B::Data;
    type Error = TimeoutBodyError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let this = self.project();
        if *this.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            *this.alarm = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(TimeoutBodyError::Inner)));
        }
        let alarm = match this.alarm {
            Some(alarm) => alarm,
            None => match this.times.until(*this.since, clock::now()) {
                Some(until) => this.alarm.insert(Alarm::new(until)),
                None => return Poll::Pending,
            },
        };
        if alarm.poll_over(cx).is_pending() {
            return Poll::Pending;
        }
        *this.over = true;
        let all_of_it = this
            .times
            .total
            .filter(|total| *this.since + *total <= alarm.at());
        Poll::Ready(Some(Err(match (all_of_it, this.times.idle) {
            (Some(total), _) => TimeoutBodyError::Total(total),
            (None, idle) => TimeoutBodyError::Idle(idle.unwrap_or_default()),
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
