//! How much one client may send over time.
//!
//! # The problem
//! One client in a loop takes what all the others pay for.
//!
//! # Why the usual answer fails
//! A limit that lives in the layer is made anew for every route, or for every connection, and
//! then limits nobody. One that keeps an entry per client can be flooded with made-up clients,
//! until memory is gone or the offender's own entry is thrown out. One that answers `429` and
//! nothing else is tried again at once.
//!
//! # The tool
//! [`RateLimitLayer`] asks [`decide::rate`](steadfast_core::decide::rate), whose page argues the
//! algorithm. The buckets belong to the limit, not to the layer: clones of the layer, all routes
//! and connections that it is put on, and all clones of the service share them. Memory is fixed
//! when the limit is made.
//!
//! Every answer says where the client stands, in `RateLimit` and `RateLimit-Policy`; a rejection
//! also says when to come back, in `Retry-After`. A rejected request takes nothing from the quota.
//!
//! The layer decides by the request: it is always ready, decides in `call`, and then drives a
//! clone of the inner service to ready.
//!
//! # Examples
//! ```
//! use std::time::Duration;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use steadfast_core::decide::rate::Quota;
//! use steadfast_tower::RateLimitLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Two at once, and one more every minute, for each API key.
//! let quota = Quota::new(1, Duration::from_secs(60), 2)?;
//! let limit = RateLimitLayer::per_client("search", quota, |request| {
//!     request.headers.get("x-api-key").map(|key| key.as_bytes().to_vec())
//! });
//! let service = ServiceBuilder::new().layer(limit).service(service_fn(
//!     async |_: Request<Full<Bytes>>| {
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//!     },
//! ));
//!
//! let mut answers = Vec::new();
//! for key in ["ann", "ann", "ann", "bob"] {
//!     let request = Request::get("/").header("x-api-key", key).body(Full::default())?;
//!     answers.push(service.clone().oneshot(request).await?);
//! }
//!
//! let status: Vec<_> = answers.iter().map(|answer| answer.status().as_u16()).collect();
//! assert_eq!(status, [200, 200, 429, 200]);
//! assert_eq!(answers[2].headers()["retry-after"], "60");
//! # Ok(()) }
//! ```

mod buckets;
mod future;
mod service;

pub(crate) use buckets::{Asked, Buckets, METRICS, Standing};
pub use future::RateLimitFuture;
pub use service::RateLimit;

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use http::request::Parts;
use steadfast_core::context::Name;
use steadfast_core::decide::rate::{KeyedRate, Quota};
use steadfast_core::report;
use tower_layer::Layer;

/// Limits the requests over time; see the [module](self).
#[derive(Clone)]
pub struct RateLimitLayer {
    pub(crate) buckets: Arc<Buckets>,
}

impl RateLimitLayer {
    /// Makes a limit for all requests together, by the name that rejections tell.
    pub fn shared(name: impl Into<Name>, quota: Quota) -> Self {
        Self::of(Buckets::shared(name.into(), quota))
    }

    /// Makes a limit for each client, by the name that rejections tell. `client` gives what the
    /// client is known by; those of which it says nothing, or for which it panics, have one quota
    /// together.
    ///
    /// Buckets of their own are planned for [`KeyedRate::DEFAULT_KEYS`] clients at a time.
    pub fn per_client<K: Hash>(
        name: impl Into<Name>,
        quota: Quota,
        client: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        Self::per_client_of(KeyedRate::DEFAULT_KEYS, name, quota, client)
    }

    /// As [`per_client`](Self::per_client), planned for `clients` at a time: 66 bytes for each,
    /// taken now and never more.
    pub fn per_client_of<K: Hash>(
        clients: u32,
        name: impl Into<Name>,
        quota: Quota,
        client: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        Self::of(Buckets::per_client(clients, name.into(), quota, client))
    }

    fn of(buckets: Buckets) -> Self {
        let buckets = Arc::new(buckets);
        // Without a place in the report it still limits.
        let _ = report::register("rate_limit", &buckets);
        Self { buckets }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit::new(inner, self.buckets.clone())
    }
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RateLimitLayer")
            .field(&self.buckets)
            .finish()
    }
}
