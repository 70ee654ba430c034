//! Which route a request belongs to, by a name from a bounded set.
//!
//! # The problem
//! Limits, counts and lines of the log are kept by route. The path itself is no route: every order
//! has one of its own, and a scanner makes up a thousand in a minute.
//!
//! # Why the usual answer fails
//! Raw paths as labels give hundreds of thousands of series, and memory that grows with whatever
//! clients send. A list of patterns beside the router is right until the first route is added.
//!
//! # The tool
//! [`RouteLayer`] asks once for each request, and sets the route of the
//! [context](steadfast_core::context): rejections, panics, log lines, tasks and every layer inside
//! read it there, and the `request` span of [`trace_id`](crate::trace_id) has it as its field
//! `route`. With the feature `axum`, `RouteLayer::matched_path` asks the router.
//!
//! The name is the template alone, `/orders/{id}`: that is what OpenTelemetry calls `http.route`
//! and what a policy is written for. The method stands beside it wherever it matters. Requests
//! that nobody has a name for share [`UNMATCHED`]; names beyond [`ROUTES_MAX`] different ones, and
//! those longer than [`Name::DYNAMIC_BYTES_MAX`], become [`Name::OTHER`]. A known name is found in
//! a table of the thread: without a lock, and without an allocation.
//!
//! The layer stands right inside of [`trace_id`](crate::trace_id), so that all others know the
//! route. It looks at the request and delays nothing, so it is ready when the inner service is.
//!
//! # Examples
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use steadfast_core::context;
//! use steadfast_tower::RouteLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let routes = RouteLayer::new(|request| match request.uri.path() {
//!     path if path.starts_with("/orders/") => Some("/orders/{id}".into()),
//!     _ => None,
//! });
//! let service = ServiceBuilder::new().layer(routes).service(service_fn(
//!     async |_: Request<Full<Bytes>>| {
//!         let route = context::current().route().unwrap();
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(route.as_str())))
//!     },
//! ));
//!
//! let request = Request::get("/orders/4711").body(Full::default()).unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! # use http_body_util::BodyExt;
//! assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "/orders/{id}");
//! # }
//! ```

mod names;
mod service;

pub use names::ROUTES_MAX;
pub use service::Route;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use steadfast_core::context::Name;
use steadfast_core::recover;
use tower_layer::Layer;

/// The route of all requests that nobody has a name for.
pub const UNMATCHED: Name = Name::new("unmatched");

/// Sets the route of every request; see the [module](self).
#[derive(Clone)]
pub struct RouteLayer {
    naming: Naming,
}

impl RouteLayer {
    /// Makes the layer from what gives the name of a request's route: its template, not its path.
    /// `None`, an empty name, and a panic are [`UNMATCHED`].
    pub fn new(
        route: impl for<'a> Fn(&'a Parts) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Self {
        let naming = Naming(Arc::new(move |request| {
            // The hook has reported a panic; the request can be served without a name.
            let name = recover(|| route(request)).ok().flatten();
            let name = name.filter(|name| !name.is_empty());
            name.map_or(UNMATCHED, |name| names::bounded(&name))
        }));
        Self { naming }
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = Route<S>;

    fn layer(&self, inner: S) -> Route<S> {
        Route::new(inner, self.naming.clone())
    }
}

impl fmt::Debug for RouteLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteLayer").finish_non_exhaustive()
    }
}

/// Gives the name of a request's route.
#[derive(Clone)]
struct Naming(Arc<dyn Fn(&Parts) -> Name + Send + Sync>);

impl fmt::Debug for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Naming")
    }
}
