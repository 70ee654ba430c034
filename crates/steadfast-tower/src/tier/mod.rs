//! Who is served first when there is not enough for all.
//!
//! # The problem
//! Under ten times the load a service can do a tenth. Which tenth, is decided by who comes first:
//! the recommendations, which are asked for on every page, and not the orders.
//!
//! # Why the usual answer fails
//! A priority that is set in the handler comes after the queue. One that any client may send is
//! sent by every client. One that ends at the next service makes an order wait there behind the
//! recommendations of others.
//!
//! # The tool
//! [`TierLayer`] judges each request before anything waits, and sets the
//! [tier](steadfast_core::context::Tier) of the context, which admission, rejections, panics and
//! log lines read; the `request` span of [`trace_id`](crate::trace_id) has its number as its field
//! `tier`. [`PropagateTierLayer`] stands around a client and tells our own services the tier of
//! the request at hand, in `x-steadfast-tier`.
//!
//! [Inside](Trust::Inside), the tier that a caller says holds before our own judgment: the caller
//! knows what the whole is for. A lookup on behalf of an order is core here, too, and the page of
//! orders that a nightly job reads is not. At the [edge](Trust::Edge) the header is taken out of
//! the request, so that nobody behind believes it. It is one digit; anything else, and more than
//! one header, says nothing. Where neither says anything, the tier stays as it is:
//! [`Tier::DEFAULT`] for a request that has come from outside. So it is for one whose judge panics.
//!
//! The layer looks at the request and delays nothing, so it is ready when the inner service is.
//!
//! # Examples
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use steadfast_core::context::{self, Tier};
//! use steadfast_tower::{RouteLayer, TierLayer, Trust};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(RouteLayer::new(|request| Some(request.uri.path().into())))
//!     .layer(TierLayer::by_route(Trust::Edge, [("/orders", Tier::CORE)]))
//!     .service(service_fn(async |_: Request<Full<Bytes>>| {
//!         let tier = context::current().tier().to_string();
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(tier)))
//!     }));
//!
//! let request = Request::get("/orders").body(Full::default()).unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! # use http_body_util::BodyExt;
//! assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "core");
//! # }
//! ```

mod propagate;
mod service;

pub use propagate::{PropagateTier, PropagateTierLayer};
pub use service::TierService;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName};
use steadfast_core::context::{self, Name, Tier};
use steadfast_core::recover;
use tower_layer::Layer;

use crate::Trust;

/// Says the tier to our own services, as its [number](Tier::number).
pub const TIER: HeaderName = HeaderName::from_static("x-steadfast-tier");

/// Sets the tier of every request; see the [module](self).
#[derive(Clone)]
pub struct TierLayer {
    judge: Judge,
}

impl TierLayer {
    /// Makes the layer for requests that are trusted this far, from what gives the tier of one of
    /// which nobody trusted has said it; `None` leaves it as it is.
    pub fn new(
        trust: Trust,
        tier: impl Fn(&Parts) -> Option<Tier> + Send + Sync + 'static,
    ) -> Self {
        let own = Arc::new(tier);
        Self {
            judge: Judge { trust, own },
        }
    }

    /// Makes the layer from the tiers of routes, which [`RouteLayer`](crate::RouteLayer) outside
    /// of it names; those of other routes stay as they are.
    pub fn by_route<N: Into<Name>>(
        trust: Trust,
        tiers: impl IntoIterator<Item = (N, Tier)>,
    ) -> Self {
        let tiers = tiers.into_iter().map(|(route, tier)| (route.into(), tier));
        let tiers: HashMap<Name, Tier> = tiers.collect();
        Self::new(trust, move |_| {
            let route = context::current().route()?;
            tiers.get(&route).copied()
        })
    }
}

impl<S> Layer<S> for TierLayer {
    type Service = TierService<S>;

    fn layer(&self, inner: S) -> TierService<S> {
        TierService::new(inner, self.judge.clone())
    }
}

impl fmt::Debug for TierLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TierLayer").field(&self.judge).finish()
    }
}

/// Gives the tier of a request.
#[derive(Clone)]
struct Judge {
    trust: Trust,
    own: Arc<Own>,
}

type Own = dyn Fn(&Parts) -> Option<Tier> + Send + Sync;

impl Judge {
    fn tier(&self, request: &mut Parts) -> Option<Tier> {
        let received = match self.trust {
            Trust::Inside => received(&request.headers),
            Trust::Edge => {
                request.headers.remove(TIER);
                None
            }
        };
        // The hook has reported a judge that panicked; the request can be served without one.
        received.or_else(|| recover(|| (self.own)(request)).ok()?)
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge")
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// The numbers of the tiers, as labels of metrics.
pub(crate) const LABELS: [Name; Tier::COUNT] = [
    Name::new("0"),
    Name::new("1"),
    Name::new("2"),
    Name::new("3"),
    Name::new("4"),
    Name::new("5"),
    Name::new("6"),
    Name::new("7"),
];

/// Gives the label of a tier.
pub(crate) fn label(tier: Tier) -> Name {
    LABELS[usize::from(tier.number())]
}

pub(crate) fn received(headers: &HeaderMap) -> Option<Tier> {
    let mut values = headers.get_all(TIER).iter();
    match (values.next()?.as_bytes(), values.next()) {
        ([digit @ b'0'..=b'9'], None) => Tier::new(digit - b'0'),
        _ => None,
    }
}
