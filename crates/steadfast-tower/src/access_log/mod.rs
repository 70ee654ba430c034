//! One line for every request, however it ends, and the counts of all.
//!
//! # The problem
//! A client waits for ten seconds and leaves. The log says that its request has started, and
//! nothing more; the dashboard, which counts answers, has never heard of it.
//!
//! # Why the usual answer fails
//! A line that is written when the handler has answered knows neither what becomes of the body nor
//! of requests that are never answered: their future is dropped, which is no event. It says `200`
//! for a stream that breaks off, and is not there at all for a handler that panics, if it stands
//! inside of the layer that catches it. Raw paths and made-up methods as labels of metrics fill the
//! memory of whoever scrapes them.
//!
//! # The tool
//! [`AccessLogLayer`] writes its line when all is over, under the target `steadfast::access`, and
//! counts then:
//!
//! | field | |
//! |---|---|
//! | `method` | one of the known ones, or `_OTHER` |
//! | `path` | without the query, which may hold secrets, and cut after 1,024 bytes |
//! | `route`, `tier` | as far as layers outside or inside of this one have set them |
//! | `status` | of the head; 499 when the client left before it; none when there was no answer |
//! | `head_s`, `duration_s` | seconds from the call to the head, and to the end |
//! | `body_bytes` | how much of the body was handed to the server |
//! | `trace_id` | of the context |
//! | `ended` | see below |
//!
//! | `ended` | |
//! |---|---|
//! | `served` | the server has taken all of the answer |
//! | `client_gone` | the future or the body was dropped before its end |
//! | `timeout`, `shutdown`, … | the same, and whoever dropped it has [told][dropping] why |
//! | `panicked` | the handler, or the body, has panicked |
//! | `body_broke` | the body has ended with an error |
//! | `failed` | the inner service has given an error in place of an answer |
//!
//! The line is written in the context as the handler has left it, so a writer that tells the keys
//! of the application (`steadfast_core::context::lines`) tells those that were put there.
//!
//! A request that is dropped is told why: scopes inside of it see
//! [`ClientGone`](steadfast_core::Cause::ClientGone), unless whoever drops it says otherwise.
//!
//! The counts are in [`report`](steadfast_core::report), under the names of OpenTelemetry as
//! Prometheus spells them: the histograms `http_server_request_duration_seconds`, with the bounds
//! that OpenTelemetry recommends, and
//! `http_server_response_body_size_bytes` by `http_route`, `http_request_method`,
//! `http_response_status_code` and, unless it was served, `error_type`; and
//! `http_server_active_requests` by route and method. The route of the latter is the one that is
//! known when the request comes, so [`RouteLayer`](crate::RouteLayer) should stand outside.
//! There are at most [`COUNTS_MAX`] of each; what comes later is counted without its route.
//!
//! The layer stands inside of [`trace_id`](crate::trace_id) and [`route`](crate::route), and
//! outside of all that rejects. It may stand on either side of [`recover`](crate::recover).
//! Without a subscriber that wants the target, it makes no line, and copies nothing for it.
//!
//! # Examples
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use steadfast_core::report::{self, Value};
//! use steadfast_tower::AccessLogLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new().layer(AccessLogLayer::new()).service(service_fn(
//!     async |_: Request<Full<Bytes>>| {
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("hello")))
//!     },
//! ));
//!
//! let request = Request::get("/").body(Full::default()).unwrap();
//! service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
//!
//! let snapshot = report::snapshot();
//! let name = "http_server_request_duration_seconds";
//! let durations = snapshot.metrics().find(|metric| metric.name == name).unwrap();
//! let Value::Histogram(durations) = &durations.value else { unreachable!() };
//! assert_eq!(durations.count(), 1);
//! # }
//! ```
//!
//! [dropping]: steadfast_core::cancel::dropping

mod body;
mod books;
mod future;
mod record;
mod service;

pub use body::AccessLogBody;
pub(crate) use body::{Asked, Sending};
pub use books::COUNTS_MAX;
pub(crate) use books::METRICS;
pub use future::AccessLogFuture;
#[cfg(feature = "serve")]
pub(crate) use record::head;
pub(crate) use record::{EVENTS, Record};
pub use service::AccessLog;

use tower_layer::Layer;

/// Tells of every request once; see the [module](self).
#[derive(Debug, Clone, Copy, Default)]
pub struct AccessLogLayer(());

impl AccessLogLayer {
    /// Makes the layer. All of a process share their counts.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> AccessLog<S> {
        AccessLog::new(inner)
    }
}
