//! Until when somebody wants the answer.
//!
//! # The problem
//! A client waits for two seconds and leaves. The service works on for ten, and so do the three
//! that it calls, for an answer that nobody reads; under load, that is most of what they do.
//!
//! # Why the usual answer fails
//! A timeout at each hop is a length of time of its own: none knows what the others have used up,
//! so the one at the end is still working when the first has long given up. A deadline that is
//! believed as it comes lets any client ask for an hour.
//!
//! # The tool
//! [`DeadlineLayer`] reads how long the caller will wait, and sets the
//! [deadline](steadfast_core::Context::deadline) of the context, which only ever gets nearer on
//! the way in. Tasks, scopes, pools and outgoing calls have it from there. A request whose time is
//! over when it comes is rejected, [`Reason::DeadlinePassed`](crate::Reason::DeadlinePassed),
//! before anything runs for it.
//!
//! It **does not stop a request** whose time runs out on the way: the timeout further in does, at
//! its own length or at the time that is left, whichever is less.
//!
//! Three headers are read, `grpc-timeout`, `x-envoy-expected-rq-timeout-ms`, and our own
//! `x-steadfast-timeout-ms`, each a length of time from now:
//!
//! - At the [edge](DeadlineLayer::edge) a client may only shorten the time that it is given here.
//!   [Inside](DeadlineLayer::inside), what a caller says holds up to a bound.
//! - Of several, the shortest holds: all of them are promises to leave by then.
//! - Zero has passed. (Not from Envoy, where it means that there is no limit.)
//! - What is malformed (empty, signed, a fraction, a unit that there is not, more digits than gRPC
//!   allows) says nothing: it could only have shortened the time.
//! - What is too large for the clock is as long as can be, and so is cut down to the bound.
//!
//! [`PropagateDeadlineLayer`] stands around a client: it tells the time that is left with every
//! call, and rejects a call for which there is none.
//!
//! Waiting for the inner service counts: the layer is always ready, decides when it is called, and
//! drives a clone of the inner service to ready then.
//!
//! # Examples
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use steadfast_core::context;
//! use steadfast_core::decide::policy::Timeout;
//! use steadfast_tower::DeadlineLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = ServiceBuilder::new()
//!     .layer(DeadlineLayer::edge(Timeout::new(Duration::from_secs(5))?))
//!     .service(service_fn(async |_: Request<Full<Bytes>>| {
//!         assert!(context::current().time_left().unwrap() <= Duration::from_secs(2));
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//!     }));
//!
//! for (milliseconds, status) in [("2000", 200), ("0", 504)] {
//!     let request = Request::get("/").header("x-steadfast-timeout-ms", milliseconds);
//!     let response = service.clone().oneshot(request.body(Full::default())?).await?;
//!     assert_eq!(response.status(), status);
//! }
//! # Ok(()) }
//! ```

mod header;
mod propagate;
mod service;

pub(crate) use header::shortest as said;
pub use header::{ENVOY_EXPECTED_TIMEOUT, GRPC_TIMEOUT, TIMEOUT};
pub(crate) use propagate::tell;
pub use propagate::{PropagateDeadline, PropagateDeadlineLayer};
pub use service::{Deadline, DeadlineFuture};
pub(crate) use service::{late_by, passed};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use steadfast_core::decide::policy::Timeout;
use steadfast_core::recover;
use tower_layer::Layer;

/// Sets the deadline of every request; see the [module](self).
#[derive(Clone)]
pub struct DeadlineLayer {
    times: Times,
}

impl DeadlineLayer {
    /// Makes the layer for requests that anybody may have sent: each has `timeout`, or less if it
    /// says so.
    pub fn edge(timeout: Timeout) -> Self {
        Self::of(timeout, None)
    }

    /// Makes the layer for requests of our own services: each has the time that it says, but never
    /// more than `longest`, or `timeout` if it says nothing.
    pub fn inside(timeout: Timeout, longest: Timeout) -> Self {
        Self::of(timeout, Some(longest.get()))
    }

    fn of(timeout: Timeout, longest: Option<Duration>) -> Self {
        let times = Times {
            timeout: timeout.get(),
            longest,
            own: None,
        };
        Self { times }
    }

    /// Gives each request its own time instead of the one timeout: by route, say. With `None` a
    /// request has as long as it takes, which is right for streams, unless its caller says less.
    /// One for which this panics has the timeout.
    #[must_use]
    pub fn by(
        mut self,
        timeout: impl Fn(&Parts) -> Option<Timeout> + Send + Sync + 'static,
    ) -> Self {
        self.times.own = Some(Arc::new(timeout));
        self
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline::new(inner, self.times.clone())
    }
}

impl fmt::Debug for DeadlineLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeadlineLayer").field(&self.times).finish()
    }
}

/// How much time requests have.
#[derive(Clone)]
struct Times {
    timeout: Duration,
    /// How much of what a request says is believed; at the edge it may not say more than we do.
    longest: Option<Duration>,
    own: Option<Arc<Own>>,
}

type Own = dyn Fn(&Parts) -> Option<Timeout> + Send + Sync;

impl Times {
    /// Gives how long a request has from now on, if there is an end to it.
    fn of(&self, request: &Parts) -> Option<Duration> {
        let said = header::shortest(&request.headers);
        match (said, self.longest) {
            (Some(said), Some(longest)) => Some(said.min(longest)),
            (Some(said), None) => Some(self.given(request).map_or(said, |given| said.min(given))),
            (None, _) => self.given(request),
        }
    }

    fn given(&self, request: &Parts) -> Option<Duration> {
        let Some(own) = &self.own else {
            return Some(self.timeout);
        };
        match recover(|| own(request)) {
            Ok(own) => own.map(Timeout::get),
            // The hook has reported it.
            Err(_) => Some(self.timeout),
        }
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Times")
            .field("timeout", &self.timeout)
            .field("longest", &self.longest)
            .field("by_request", &self.own.is_some())
            .finish()
    }
}
