//! How long to wait for an answer.
//!
//! # The problem
//! A dependency hangs, and each call to it holds a permit, a connection and a client for as long
//! as somebody has guessed, years ago.
//!
//! # Why the usual answer fails
//! A fixed timeout is too short on a slow day, when it turns slow answers into failures and
//! repeats, and too long on a bad one. A percentile of what was answered in time cuts the slowest,
//! then the slowest of the rest, and never comes back.
//!
//! # The tool
//! [`TimeoutLayer`] waits for the head of the response: for a [fixed](TimeoutLayer::fixed) time,
//! or for one that is [learned](TimeoutLayer::learned) as
//! [`decide::timeout`](steadfast_core::decide::timeout) argues, capped by the share of the permits
//! that all these calls together may hold. Either way no longer than the deadline of the context.
//! What is inside has the end as its deadline: its scopes end by it, and its calls tell it on.
//!
//! When the time is up the inner future is dropped, with
//! [`Cause::Timeout`](steadfast_core::Cause) for the scopes in it, and the request is rejected as
//! [`TimedOut`](crate::Reason::TimedOut); one whose deadline has passed before it came, as
//! [`DeadlinePassed`](crate::Reason::DeadlinePassed), and one that has less time than the fastest
//! answer of the last ten to twenty seconds has taken, as
//! [`CannotFinish`](crate::Reason::CannotFinish), both without a call. In front of handlers that is
//! a response; [around a client](TimeoutLayer::for_client) it is a [`CallError`](crate::CallError).
//!
//! Compared with tower's timeout: the time is to the head of the response, and is not the same
//! for all; with tower-http's: the answer tells why. The body has times of its own:
//! [`with_body_times`](TimeoutLayer::with_body_times).
//!
//! The layer decides by the request: it is always ready, and the time in which it drives a clone of
//! the inner service to ready counts.
//!
//! A call of a client that was cut because its caller's deadline gave it less than half of the usual
//! time says nothing about the dependency: [no breaker](crate::breaker) counts it. Otherwise anybody
//! who asks for a millisecond could open it for all.
//!
//! A learned timeout belongs to one kind of call: one per route, one per dependency. Streams do
//! not belong behind one; from an answer that turns out to be one nothing is learned.
//!
//! A body that stands still, or takes too long in all, ends with an error, which cuts the answer
//! off, and is counted and told as [`TimedOut`](crate::Reason::TimedOut). It makes no difference who
//! stands still, the handler or the client that does not read.
//!
//! # What it tells
//! To [`report`](mod@steadfast_core::report), each with the label `policy`:
//!
//! | metric | |
//! |---|---|
//! | `steadfast_timeout_seconds` | how long a usual call may take now |
//! | `steadfast_timeout_followed_seconds` | the quantile that a learned one follows, 0 until it is known |
//! | `steadfast_timeout_calls_total` | calls that began |
//! | `steadfast_timeout_cut_total` | calls whose time was up |
//!
//! # Examples
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use steadfast_tower::TimeoutLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::fixed("statements", Duration::from_secs(2))?)
//!     .service(service_fn(async |_: Request<Full<Bytes>>| {
//!         steadfast_core::clock::sleep(Duration::from_secs(3)).await;
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//!     }));
//!
//! let response = service.oneshot(Request::new(Full::default())).await?;
//!
//! assert_eq!(response.status(), 504);
//! # Ok(()) }
//! ```

mod body;
mod call;
mod fastest;
mod future;
mod service;
mod shared;

pub(crate) use body::{BodyTimes, Pace};
pub use body::{TimeoutBody, TimeoutBodyError};
pub(crate) use call::Call;
pub use future::TimeoutFuture;
pub(crate) use future::{CallEnded, poll_call};
pub use service::Timeout;
pub(crate) use service::{Timed, send};
pub(crate) use shared::{METRICS, Shared};

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use steadfast_core::context::Name;
use steadfast_core::decide::timeout::TimeoutConfig;
use steadfast_core::report;
use tower_layer::Layer;

use crate::{Client, Server};

/// Waits for answers, and not for ever; see the [module](self).
pub struct TimeoutLayer<F = Server> {
    pub(crate) shared: Arc<Shared>,
    body: BodyTimes,
    form: PhantomData<fn() -> F>,
}

/// Refuses a [`TimeoutLayer`] with a time out of range.
///
/// The message names the bound. Trying again with the same time fails again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("timeout {0:?} is outside of {shortest:?} to {longest:?}", shortest = TimeoutConfig::SHORTEST, longest = TimeoutLayer::LONGEST)]
pub struct InvalidTimeoutLayer(Duration);

impl TimeoutLayer {
    /// The longest fixed timeout: 24 hours. What takes longer is a job.
    pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// Waits for `timeout`, by the name that rejections tell.
    ///
    /// # Errors
    /// [`InvalidTimeoutLayer`] unless the time is from [`TimeoutConfig::SHORTEST`] to
    /// [`LONGEST`](Self::LONGEST).
    pub fn fixed(name: impl Into<Name>, timeout: Duration) -> Result<Self, InvalidTimeoutLayer> {
        if !(TimeoutConfig::SHORTEST..=Self::LONGEST).contains(&timeout) {
            return Err(InvalidTimeoutLayer(timeout));
        }
        Ok(Self::of(Shared::fixed(name.into(), timeout)))
    }

    /// Waits for as long as turns out to be right, by the name that rejections tell. Where the
    /// calls hold permits of something that they share with others, `permits` is how many there
    /// are.
    pub fn learned(name: impl Into<Name>, config: TimeoutConfig, permits: Option<u32>) -> Self {
        Self::of(Shared::learned(name.into(), config, permits, None))
    }

    /// As [`learned`](Self::learned), with a timeout to start from that is known from before, such
    /// as one from a metrics store.
    pub fn learned_from(
        name: impl Into<Name>,
        config: TimeoutConfig,
        permits: Option<u32>,
        start: Duration,
    ) -> Self {
        Self::of(Shared::learned(name.into(), config, permits, Some(start)))
    }

    /// The same timeout around a client: a rejection is an error.
    #[must_use]
    pub fn for_client(self) -> TimeoutLayer<Client> {
        TimeoutLayer {
            shared: self.shared,
            body: self.body,
            form: PhantomData,
        }
    }

    fn of(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        // Without a place in the report it still watches the time.
        let _ = report::register("timeout", &shared);
        Self {
            shared,
            body: BodyTimes::default(),
            form: PhantomData,
        }
    }
}

impl<F> TimeoutLayer<F> {
    /// Bounds the body of the response: `idle` is the longest wait for the next frame, `total`
    /// that for all of them, from the head on. By default neither is bounded.
    #[must_use]
    pub fn with_body_times(mut self, idle: Option<Duration>, total: Option<Duration>) -> Self {
        self.body = BodyTimes {
            idle,
            total,
            policy: Some(self.shared.name),
            shadow: false,
        };
        self
    }

    /// Gives how long a usual call may take now.
    pub fn timeout(&self) -> Duration {
        self.shared.usual()
    }
}

impl<S, F> Layer<S> for TimeoutLayer<F> {
    type Service = Timeout<S, F>;

    fn layer(&self, inner: S) -> Timeout<S, F> {
        Timeout::new(inner, Some(self.shared.clone()), self.body)
    }
}

impl<F> Clone for TimeoutLayer<F> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            body: self.body,
            form: PhantomData,
        }
    }
}

impl<F> fmt::Debug for TimeoutLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TimeoutLayer").field(&self.shared).finish()
    }
}
