//! One id for a request and all that it starts, by the letter of W3C Trace Context.
//!
//! # The problem
//! A request fails in the fourth service. Its log line has no id, or one that none of the other
//! three has written; the line of the task that it spawned has none at all.
//!
//! # Why the usual answer fails
//! An id that is a field of a span is lost with each task that is spawned without the span, cannot
//! be read by the code that sends the next request, and is not there when a panic is reported. An
//! id that is taken from a header unseen lets every client write into the log whatever it likes.
//!
//! # The tool
//! [`TraceIdLayer`] takes the trace of `traceparent` up, or begins one, and puts it into the
//! [context](steadfast_core::context): panics, rejections, scopes, spawned tasks, outgoing calls
//! and the `request` span of [`tracing`] all have it, and so has every frame of the response
//! body. The answer says it in `x-request-id`; a request that came with a well-formed
//! `x-request-id` gets that back, and keeps it as the context's key `request_id`.
//!
//! [`PropagateLayer`] stands around a client: it sends the trace on, with a span id of its own
//! for each call.
//!
//! By the letter means: one lower-case `traceparent` of exactly the known form, or a later
//! version of which the known part is read; ids of zeros, version `ff`, and several such headers
//! begin a new trace, without the `tracestate` of the old one. `tracestate` is one list over all
//! its headers, passed on in order and shortened to 512 bytes by whole members, or not at all
//! when one member is malformed. Of [`baggage`](Trust::Inside), malformed members are left out,
//! and at most 64 members of 8,192 bytes in all go on. At the [edge](Trust::Edge) baggage is
//! ignored, and taken out of the request.
//!
//! `x-steadfast-attempt`, by which a caller says that it retries, goes along in the same way, so
//! that nothing is retried for a request that will itself be repeated. At the edge it is removed.
//!
//! # Examples
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use steadfast_core::context;
//! use steadfast_tower::{TraceIdLayer, Trust};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(TraceIdLayer::new(Trust::Edge))
//!     .service(service_fn(async |_: Request<Full<Bytes>>| {
//!         let id = context::current().trace_id().expect("every request has one");
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(id.to_string())))
//!     }));
//!
//! let request = Request::get("/")
//!     .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
//!     .body(Full::default())
//!     .unwrap();
//! let response = service.oneshot(request).await.unwrap();
//!
//! assert_eq!(response.headers()["x-request-id"], "0af7651916cd43dd8448eb211c80319c");
//! # }
//! ```

mod future;
mod list;
mod propagate;
mod received;
mod service;
mod traceparent;

pub use future::TraceIdFuture;
pub use propagate::{Propagate, PropagateLayer};
pub(crate) use received::echo;
#[cfg(feature = "serve")]
pub(crate) use received::{REQUEST_ID, of, request_id};
pub use service::TraceId;
pub(crate) use service::begin;

use tower_layer::Layer;

use crate::Trust;

/// Gives every request a trace; see the [module](self). The outermost layer.
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceIdLayer {
    trust: Trust,
}

impl TraceIdLayer {
    /// Makes the layer for requests that are trusted this far.
    pub fn new(trust: Trust) -> Self {
        Self { trust }
    }
}

impl<S> Layer<S> for TraceIdLayer {
    type Service = TraceId<S>;

    fn layer(&self, inner: S) -> TraceId<S> {
        TraceId::new(inner, self.trust)
    }
}
