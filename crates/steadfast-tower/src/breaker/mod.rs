//! Leaving alone what does not work, and finding out when it does again.
//!
//! # The problem
//! A dependency is down. Every call to it takes a timeout to fail, holds a permit meanwhile, and adds
//! to what it has to work off before it can come back.
//!
//! # Why the usual answer fails
//! For tower a `500` is an `Ok`, so a breaker that looks at results never trips. One that belongs to
//! a layer value, and not to a dependency, is made anew for each client. One for ten replicas trips
//! for all of them when one is ill, or for none. What the caller's own limits reject, and whose
//! caller went away, is counted as the dependency's fault; and callers that ask for a millisecond can
//! open it for everybody.
//!
//! # The tool
//! [`BreakerLayer`] stands around a client, one breaker for each **endpoint**: host and port of the
//! request, unless [you say otherwise](BreakerLayer::by_endpoint). It asks
//! [`decide::breaker`](steadfast_core::decide::breaker), whose page argues the rules, before each
//! attempt, and tells it how that ended:
//!
//! - as [`classify`](crate::classify) says: by the status of HTTP, the one of gRPC in headers or
//!   trailers, and the sources of an error;
//! - a rejection by a layer further in is no failure, nor is a call that was dropped, nor one that
//!   its caller gave [less than half](crate::timeout) of the usual time: their permits go back;
//! - how long it took is the time to the head of the response. A call of gRPC whose status is still
//!   to come counts when its trailers are there; one whose body fails, or ends without them, has
//!   failed. A probe counts with its first message, since a stream may live for longer than
//!   probes are waited for. Of other bodies nothing is counted.
//!
//! While it is open, a call is rejected with [`BreakerOpen`](crate::Reason::BreakerOpen): what it
//! has seen, and when to come back.
//!
//! The state belongs to the layer: clones of it and of its services share it. There are up to
//! [`ENDPOINTS_MAX`] endpoints at a time; those beyond share one breaker, and those that nobody calls
//! any more make room. The layer is always ready, decides when it is called, and drives a clone of
//! the inner service to ready then. It stands inside of retries and hedges, which
//! [consult](crate::RetryLayer::consulting) it, and outside of limits and timeouts.
//!
//! # Operators
//! [`Breakers`] shows every endpoint, and [forces](Breakers::force) breakers open or closed, for a
//! time that must be given, signed by somebody with a reason.
//!
//! # What it tells
//! In the log, under the target `steadfast::breaker`, each change of an endpoint, with the numbers
//! that were the reason; at most one for each open time and endpoint. In the
//! [report](mod@steadfast_core::report), by `policy`:
//!
//! | metric | labels | |
//! |---|---|---|
//! | `steadfast_breaker_endpoints` | `state` | endpoints that are closed, open, half-open or on the ramp |
//! | `steadfast_breaker_forced` | | endpoints on which an operator holds a hand |
//! | `steadfast_breaker_changes_total` | `to` | how often one tripped (`open`), was probed (`half-open`), came back (`ramp`) and had recovered (`closed`) |
//! | `steadfast_breaker_rejected_total` | | calls that were rejected |
//!
//! One in shadow mode trips and recovers as any other, and rejects nothing: what it would have rejected
//! is told as [by every policy](crate::reject) that only looks on.
//!
//! # Examples
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use steadfast_core::decide::breaker::BreakerConfig;
//! use steadfast_tower::{BreakerLayer, Reason};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let breaker = BreakerLayer::new("payments", BreakerConfig::new().with_consecutive(2)?)?;
//! let breakers = breaker.breakers();
//! let client = ServiceBuilder::new().layer(breaker).service(service_fn(
//!     async |_: Request<Full<Bytes>>| {
//!         let down = Response::builder().status(503);
//!         Ok::<_, std::io::Error>(down.body(Full::<Bytes>::default()).unwrap())
//!     },
//! ));
//!
//! let call = || client.clone().oneshot(Request::get("http://pay.example/").body(Full::default()).unwrap());
//! assert_eq!(call().await?.status(), 503);
//! assert_eq!(call().await?.status(), 503);
//!
//! let error = call().await.unwrap_err();
//! assert_eq!(error.rejection().unwrap().reason(), Reason::BreakerOpen);
//! assert!(breakers.endpoints()[0].to_string().starts_with("pay.example:80 is open"));
//! # Ok(()) }
//! ```

mod body;
mod endpoint;
mod future;
mod handle;
mod pass;
mod service;
mod shared;
mod tally;

pub use body::BreakerBody;
pub(crate) use body::Telling;
pub use future::BreakerFuture;
pub use handle::{Breakers, EndpointStatus, InvalidForce, LastTrip};
pub(crate) use pass::Pass;
pub use service::Breaker;
pub use shared::ENDPOINTS_MAX;
pub(crate) use shared::{Asked, Settings, Shared};
pub(crate) use tally::{EVENTS, METRICS};

use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use steadfast_core::context::Name;
use steadfast_core::decide::breaker::{BreakerConfig, InvalidBreaker};
use steadfast_core::report;
use tower_layer::Layer;

use crate::classify::Standard;
use crate::target::EndpointOf;

/// Stops calls to what does not work; see the [module](self).
pub struct BreakerLayer<C = Standard> {
    shared: Arc<Shared>,
    endpoint_of: Option<EndpointOf>,
    classifier: Arc<C>,
}

impl BreakerLayer {
    /// Makes a layer, by the name that rejections tell.
    ///
    /// # Errors
    /// [`InvalidBreaker`] if the config has no reason to trip.
    pub fn new(name: impl Into<Name>, config: BreakerConfig) -> Result<Self, InvalidBreaker> {
        let settings = Settings::new(config, false)?;
        let shared = Arc::new(Shared::new(name.into(), Some(settings)));
        // Without a place in the report it still trips.
        let _ = report::register("breaker", &shared);
        Ok(Self {
            shared,
            endpoint_of: None,
            classifier: Arc::new(Standard),
        })
    }
}

impl<C> BreakerLayer<C> {
    /// Judges how a call has ended by another classifier; [`Standard`] unless set.
    ///
    /// Errors that are boxed need [`StandardBoxed`](crate::classify::StandardBoxed).
    pub fn classify_by<D>(self, classifier: D) -> BreakerLayer<D> {
        BreakerLayer {
            shared: self.shared,
            endpoint_of: self.endpoint_of,
            classifier: Arc::new(classifier),
        }
    }

    /// Tells endpoints apart by what `endpoint` gives; by host and port of the request unless set.
    /// Calls for which it gives nothing, or panics, have one breaker together.
    #[must_use]
    pub fn by_endpoint(
        mut self,
        endpoint: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.endpoint_of = Some(Arc::new(endpoint));
        self
    }

    /// Gives the view of all endpoints, and the hand on them.
    pub fn breakers(&self) -> Breakers {
        Breakers::new(self.shared.clone(), self.endpoint_of.clone())
    }
}

impl<S, C> Layer<S> for BreakerLayer<C> {
    type Service = Breaker<S, C>;

    fn layer(&self, inner: S) -> Breaker<S, C> {
        Breaker::new(inner, self.breakers(), self.classifier.clone())
    }
}

impl<C> Clone for BreakerLayer<C> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            endpoint_of: self.endpoint_of.clone(),
            classifier: self.classifier.clone(),
        }
    }
}

impl<C> fmt::Debug for BreakerLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BreakerLayer").field(&self.shared).finish()
    }
}
