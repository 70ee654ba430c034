//! A second attempt beside a first one that takes long.
//!
//! # The problem
//! One call in a hundred takes a hundred times as long as the others, and a page that makes fifty of
//! them is slow every other time. The same call, sent again, would be answered at once.
//!
//! # Why the usual answer fails
//! A delay that was written down once hedges nothing after a year, or everything. Without a budget,
//! hedges double the load of a dependency that is slow because of its load. A hedge of a POST charges
//! the card twice. And one that races its own first attempt for the body of the request breaks it.
//!
//! # The tool
//! [`HedgeLayer`] stands around a client, and asks
//! [`decide::hedge`](steadfast_core::decide::hedge), whose page argues the rules: when no answer is
//! there after the live 95th percentile, the call is sent a second time, and the first answer that is
//! no [failure](crate::classify) wins. When both fail, the answer of the first attempt is the
//! caller's. A call is hedged only
//!
//! - if sending it twice has the effect of sending it once: by its method, by its `Idempotency-Key`,
//!   or because [you say so](HedgeLayer::repeatable_if);
//! - if the budget has something left, a share of the calls that succeeded, without any reserve;
//! - if the breaker of the target, where one is [consulted](HedgeLayer::consulting), is closed;
//! - if enough time is left until the [deadline](steadfast_core::Context::deadline);
//! - if its body is there as a whole when it is called, and is not longer than 64 KiB: each attempt
//!   sends it by itself then. One that still streams is sent once.
//!
//! The attempt that lost is dropped, with the [cause](steadfast_core::Cause::Requested) `hedge` for
//! scopes inside of it; a breaker further in does not count it.
//!
//! What was learned, and the budget, belong to the layer: all clones of it and of its services share
//! them. It is always ready; every attempt drives a clone of the inner service to ready. It stands
//! inside of retries and outside of the breaker.
//!
//! # What it tells
//! To the [report](mod@steadfast_core::report), by `policy`:
//!
//! | metric | labels | |
//! |---|---|---|
//! | `steadfast_hedge_delay_seconds` | | after which time a call is hedged now; absent while that is learned |
//! | `steadfast_hedges_total` | | second attempts that were sent |
//! | `steadfast_hedges_won_total` | | those that gave the answer |
//! | `steadfast_hedge_stops_total` | `reason` | calls that took long, or could have been hedged, and were not |
//!
//! # Examples
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use steadfast_core::clock;
//! use steadfast_core::decide::hedge::Hedge;
//! use steadfast_tower::HedgeLayer;
//! use steadfast_tower::hedge::HedgeBody;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Up to a tenth of the calls, after 50 ms. `Hedge::learned` finds the time itself.
//! let hedge = HedgeLayer::new("stock", Hedge::fixed(0.1, Duration::from_millis(50))?);
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//! let client = ServiceBuilder::new().layer(hedge).service(service_fn(
//!     async |_: Request<HedgeBody<Full<Bytes>>>| {
//!         // The twenty-first is lost.
//!         if CALLS.fetch_add(1, Ordering::Relaxed) == 20 {
//!             std::future::pending::<()>().await;
//!         }
//!         Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default()))
//!     },
//! ));
//!
//! for _ in 0..21 {
//!     let begun = clock::now();
//!     let call = Request::get("http://stock.example/tea").body(Full::default())?;
//!     assert_eq!(client.clone().oneshot(call).await?.status(), 200);
//!     assert!(clock::now() - begun <= Duration::from_millis(51));
//! }
//! assert_eq!(CALLS.load(Ordering::Relaxed), 22);
//! # Ok(()) }
//! ```

mod body;
mod future;
mod original;
mod service;
mod shared;

pub use body::HedgeBody;
pub use future::HedgeFuture;
pub use service::Hedged;
pub(crate) use service::Settings;
pub(crate) use shared::{METRICS, Shared};

use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use steadfast_core::context::Name;
use steadfast_core::decide::hedge::Hedge;
use steadfast_core::report;
use tower_layer::Layer;

use crate::breaker::Breakers;
use crate::classify::Standard;

/// Sends calls that take long a second time; see the [module](self).
pub struct HedgeLayer<C = Standard> {
    settings: Settings<C>,
}

impl HedgeLayer {
    /// Makes a layer, by the name that the metrics tell.
    pub fn new(name: impl Into<Name>, hedge: Hedge) -> Self {
        let shared = Arc::new(Shared::new(name.into(), Some(hedge), true));
        // Without a place in the report it still hedges.
        let _ = report::register("hedge", &shared);
        Self {
            settings: Settings {
                shared,
                repeatable: None,
                breakers: None,
                classifier: Arc::new(Standard),
            },
        }
    }
}

impl<C> HedgeLayer<C> {
    /// Judges how an attempt has ended by another classifier; [`Standard`] unless set.
    ///
    /// Errors that are boxed need [`StandardBoxed`](crate::classify::StandardBoxed).
    pub fn classify_by<D>(self, classifier: D) -> HedgeLayer<D> {
        let Settings {
            shared,
            repeatable,
            breakers,
            ..
        } = self.settings;
        HedgeLayer {
            settings: Settings {
                shared,
                repeatable,
                breakers,
                classifier: Arc::new(classifier),
            },
        }
    }

    /// Hedges, beside those that are safe by their method or their key, calls of which `repeatable`
    /// says that sending them twice has the effect of sending them once. If it panics, that is
    /// reported and means no.
    #[must_use]
    pub fn repeatable_if(
        mut self,
        repeatable: impl Fn(&Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.settings.repeatable = Some(Arc::new(repeatable));
        self
    }

    /// Hedges no call whose breaker is not closed: it would take the place of a probe, and burden
    /// what is just coming back.
    ///
    /// For the breakers of a [`BreakerLayer`](crate::BreakerLayer) further in.
    #[must_use]
    pub fn consulting(mut self, breakers: &Breakers) -> Self {
        self.settings.breakers = Some(breakers.clone());
        self
    }
}

impl<S, C> Layer<S> for HedgeLayer<C> {
    type Service = Hedged<S, C>;

    fn layer(&self, inner: S) -> Hedged<S, C> {
        Hedged::new(inner, Arc::new(self.settings.clone()))
    }
}

impl<C> Clone for HedgeLayer<C> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
        }
    }
}

impl<C> fmt::Debug for HedgeLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HedgeLayer")
            .field(&self.settings.shared)
            .finish()
    }
}
