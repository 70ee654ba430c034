use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use steadfast_core::clock::{self, Alarm, Instant};
use steadfast_core::context::Name;

use crate::{Reason, Rejection};

/// How long a body may take.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BodyTimes {
    pub(crate) idle: Option<Duration>,
    pub(crate) total: Option<Duration>,
    /// Who says so, where somebody counts.
    pub(crate) policy: Option<Name>,
    /// It only looks on.
    pub(crate) shadow: bool,
}

pin_project! {
    /// A response body that is not waited for without end.
    #[derive(Debug)]
    pub struct TimeoutBody<B> {
        #[pin]
        body: B,
        pace: Pace,
    }
}

/// How a body moves, and how long it may take.
#[derive(Debug)]
pub(crate) struct Pace {
    times: BodyTimes,
    since: Instant,
    /// When it last moved; absent before the first frame, when it was not waited for yet.
    moved: Option<Instant>,
    /// Set while a frame is waited for.
    alarm: Option<Alarm>,
    over: bool,
}

/// Why the body of a response is not whole.
#[derive(Debug, thiserror::Error)]
pub enum TimeoutBodyError<E> {
    /// As the body says.
    #[error(transparent)]
    Inner(E),
    /// It stood still for this long.
    #[error("no frame of the body came within {0:?}")]
    Idle(Duration),
    /// The body was not at its end after this long.
    #[error("the body was not at its end after {0:?}")]
    Total(Duration),
}

impl<B> TimeoutBody<B> {
    pub(super) fn new(body: B, pace: Pace) -> Self {
        Self { body, pace }
    }
}

/// A frame of a body that is not waited for without end.
pub(crate) type Paced<B> = Result<Frame<<B as Body>::Data>, TimeoutBodyError<<B as Body>::Error>>;

/// Which of the two times is up.
#[derive(Debug, Clone, Copy)]
enum Over {
    Idle(Duration),
    Total(Duration),
}

impl BodyTimes {
    fn is_bounded(&self) -> bool {
        self.idle.is_some() || self.total.is_some()
    }

    /// Gives when the time of a body is up that began at `since` and last moved at `moved`.
    fn ends(&self, since: Instant, moved: Instant) -> Option<(Instant, Over)> {
        // A time beyond all clocks is no bound.
        let end = |from: Instant, over, time| Some((from.checked_add(time)?, over));
        let idle = self
            .idle
            .and_then(|idle| end(moved, Over::Idle(idle), idle));
        let total = self
            .total
            .and_then(|total| end(since, Over::Total(total), total));
        [total, idle]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// Counts what is cut off, or would have been.
    fn tell(&self, over: Over, took: Duration) {
        let Some(policy) = self.policy else { return };
        let (limit, unit) = match over {
            Over::Idle(idle) => (idle, "seconds without a frame"),
            Over::Total(total) => (total, "seconds for the body"),
        };
        let rejection = Rejection::new(Reason::TimedOut, policy);
        let rejection = rejection.with_bound(limit.as_secs_f64(), took.as_secs_f64(), unit);
        match self.shadow {
            true => rejection.count_shadow(),
            false => rejection.count(),
        }
    }
}

impl Pace {
    /// Begins at that time.
    pub(crate) fn new(times: BodyTimes, since: Instant) -> Self {
        Self {
            times,
            since,
            moved: None,
            alarm: None,
            over: false,
        }
    }

    /// Tells whether the body was cut off.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn poll_frame<B: Body>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Paced<B>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if !self.times.is_bounded() {
            let frame = body.poll_frame(cx);
            return frame.map_err(TimeoutBodyError::Inner);
        }
        // A server asks for a frame when the client has taken those before. Where it has not for too
        // long, the frame that is there now is of no use to anybody; that there is none any more, is.
        if let Some(moved) = self.moved.filter(|_| !body.is_end_stream()) {
            let now = clock::now();
            let ends = self.times.ends(self.since, moved);
            if let Some((_, over)) = ends.filter(|(at, _)| *at <= now)
                && let Some(cut) = self.cut(over, now, moved)
            {
                return Poll::Ready(Some(Err(cut)));
            }
        }
        loop {
            if let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
                let waited = self.alarm.take().is_some() || self.moved.is_some();
                if frame.is_some() {
                    // The first one, if it is there at once: the answer has only just begun.
                    self.moved = Some(if waited { clock::now() } else { self.since });
                }
                return Poll::Ready(frame.map(|frame| frame.map_err(TimeoutBodyError::Inner)));
            }
            let moved = *self.moved.get_or_insert_with(clock::now);
            let Some((at, over)) = self.times.ends(self.since, moved) else {
                return Poll::Pending;
            };
            let alarm = self.alarm.get_or_insert_with(|| Alarm::new(at));
            if alarm.poll_over(cx).is_pending() {
                return Poll::Pending;
            }
            self.alarm = None;
            if let Some(cut) = self.cut(over, clock::now(), moved) {
                return Poll::Ready(Some(Err(cut)));
            }
        }
    }

    /// Ends the body, unless its times only look on.
    fn cut<E>(&mut self, over: Over, now: Instant, moved: Instant) -> Option<TimeoutBodyError<E>> {
        let from = match over {
            Over::Idle(_) => moved,
            Over::Total(_) => self.since,
        };
        self.times.tell(over, now.saturating_duration_since(from));
        if self.times.shadow {
            // Told once.
            self.times = BodyTimes::default();
            return None;
        }
        self.over = true;
        Some(match over {
            Over::Idle(idle) => TimeoutBodyError::Idle(idle),
            Over::Total(total) => TimeoutBodyError::Total(total),
        })
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
        this.pace.poll_frame(this.body, cx)
    }

    fn is_end_stream(&self) -> bool {
        self.pace.is_over() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
