//! Leaving without a failed request.
//!
//! # The problem
//! A deployment stops an instance. The load balancer still sends requests to it, clients keep
//! their connections, a download takes minutes. Each of them fails, or keeps the instance alive
//! until somebody kills it.
//!
//! # Why the usual answer fails
//! Who closes the listener at once fails what the load balancer sends until it has noticed. Who
//! waits for all connections waits for idle ones, too, and for the client that reads a byte a
//! minute. Who counts futures of handlers counts a download as over when its first byte is sent.
//! And whoever stops for everybody at once stops for the orders as early as for the
//! recommendations.
//!
//! # The tool
//! A [`Drain`] is the handle, [`DrainLayer`] stands in front of the handlers and asks it:
//!
//! 1. *Serving* until somebody calls [`start`](Drain::start), or the
//!    [`Shutdown`](steadfast_core::Shutdown) that it [follows](Drain::follow) begins.
//! 2. *Not ready*: [`is_ready`](Drain::is_ready), the answer for the load balancer, is false from
//!    now on. Everything is still served, and every answer over HTTP/1 says `Connection: close`,
//!    so that clients that stay connected leave with the answer.
//! 3. *Core only*, once the [notice](DrainLimits::notice) is over: requests below the
//!    [core tier](steadfast_core::context::Tier::CORE) are rejected with
//!    [`Reason::Draining`](crate::Reason::Draining), which another instance may serve.
//!    [`stop_accepting`](Drain::stop_accepting) is when to close the listener, and idle
//!    connections with it.
//! 4. *Closed* at the [hard limit](DrainLimits::hard): everything is rejected.
//!
//! A request is in flight until the last frame of its answer, or the drop of it;
//! [`drained`](Drain::drained) waits for none to be, and no longer than to the hard limit.
//!
//! The tier is that of the context: a layer that sets it stands outside of this one; without any,
//! no request is core. The layer decides by the request: it is always ready, decides in `call`,
//! and then drives a clone of the inner service to ready. The state belongs to the handle: all
//! layers made with it share it.
//!
//! On a connection of HTTP/2 there is no header that says to leave; there the server does, by
//! closing its connections gracefully. A request that becomes another protocol (`101`) is over
//! for this layer when that begins.
//!
//! # What it tells
//! The beginning and the end, in the log under the target `steadfast::drain`. In the
//! [report](steadfast_core::report): `steadfast_drain_in_flight` by tier, and
//! `steadfast_drain_ready`, 1 or 0.
//!
//! # Examples
//! ```no_run
//! use axum::{Router, http::StatusCode, routing::get};
//! use steadfast_core::Shutdown;
//! use steadfast_tower::drain::{Drain, DrainLayer};
//!
//! # async fn serve(shutdown: Shutdown) -> Result<(), Box<dyn std::error::Error>> {
//! let drain = Drain::default();
//! drain.follow(&shutdown)?;
//! let probe = drain.clone();
//! let app = Router::new()
//!     .route("/orders", get(async || "none yet"))
//!     .layer(DrainLayer::new(&drain))
//!     // Outside of the layer: the load balancer is answered to the end.
//!     .route("/ready", get(async move || match probe.is_ready() {
//!         true => StatusCode::OK,
//!         false => StatusCode::SERVICE_UNAVAILABLE,
//!     }));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! let server = axum::serve(listener, app).with_graceful_shutdown(drain.stop_accepting());
//! tokio::select! {
//!     served = async { server.await } => served?,
//!     // Whoever is still here does not read.
//!     () = drain.hard_limit() => {}
//! }
//! # Ok(()) }
//! ```

mod future;
mod handle;
mod limits;
mod service;

pub use future::DrainFuture;
pub(crate) use future::tell_last;
pub use handle::{Drain, Drained};
pub(crate) use handle::{EVENTS, InFlight, METRICS};
pub use limits::DrainLimits;
pub use service::Draining;
pub(crate) use service::{closes, rejected};

use tower_layer::Layer;

use crate::{AnswerBody, HeldBody};

/// A response body whose request is in flight until its end.
pub type DrainBody<B> = HeldBody<AnswerBody<B>, InFlight>;

/// Serves, and in the end rejects, by the word of a [`Drain`]; see the [module](self).
#[derive(Debug, Clone)]
pub struct DrainLayer {
    drain: Drain,
}

impl DrainLayer {
    /// Makes the layer.
    pub fn new(drain: &Drain) -> Self {
        let drain = drain.clone();
        Self { drain }
    }
}

impl<S> Layer<S> for DrainLayer {
    type Service = Draining<S>;

    fn layer(&self, inner: S) -> Draining<S> {
        Draining::new(inner, self.drain.clone())
    }
}
