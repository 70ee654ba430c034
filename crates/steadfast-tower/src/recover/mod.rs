//! A panic becomes a clean answer, wherever it happens.
//!
//! # The problem
//! A handler panics. The client sees a closed connection and no status; the log may have nothing,
//! since the panic went to standard error; a proxy in front repeats the request on the next
//! instance, which panics, too.
//!
//! # Why the usual answer fails
//! A layer that catches panics catches those of the response future. The ones of a streamed body
//! come later, after the log has said `200`; those of `poll_ready`, of a clone of the service, or
//! of the drop of what a handler has captured go past it, and take the connection's task, and on
//! HTTP/2 every request of that connection, along.
//!
//! # The tool
//! [`RecoverLayer`] contains panics of
//!
//! - `call`, the response future, and the drop of that future: answered with `500`;
//! - `poll_ready`, and `clone`: the next call is answered with `500`;
//! - every frame of the response body, and the drop of that: the stream is cut off, so that the
//!   client sees that the answer is not whole, and the error tells the panic;
//! - the drop of the inner service.
//!
//! The answer is `application/problem+json` with the trace id and nothing of the inside, or
//! trailers with `grpc-status: 13`. The panic itself is [reported](steadfast_core::panic) when it
//! happens: once, with place, backtrace, trace id, route and tier, as far as the layers outside
//! have set them. So this layer stands inside of [`trace_id`](crate::trace_id) and outside of
//! all that may panic. Panics of tasks that the handler has [spawned](steadfast_core::spawn) are
//! contained and reported by them.
//!
//! Not containable are: abort, a stack overflow, no memory, and `panic = "abort"` in the profile,
//! which [`run`](steadfast_core::run()) refuses to start with.
//!
//! # Examples
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use steadfast_tower::RecoverLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(RecoverLayer::new())
//!     .service(service_fn(async |request: Request<Full<Bytes>>| {
//!         let id: u32 = request.uri().path()[1..].parse().expect("an id");
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::from(format!("{id}"))))
//!     }));
//!
//! let request = Request::get("/four").body(Full::default()).unwrap();
//! let response = service.oneshot(request).await.unwrap();
//!
//! assert_eq!(response.status(), 500);
//! let body = response.into_body().collect().await.unwrap().to_bytes();
//! assert!(!body.windows(5).any(|part| part == b"an id"), "the inside stays inside");
//! # }
//! ```

mod body;
mod future;
mod service;

pub use body::{RecoverBody, RecoverBodyError};
pub use future::RecoverFuture;
pub use service::Recover;
pub(crate) use service::contained;

use tower_layer::Layer;

/// Contains the panics of the services inside; see the [module](self).
#[derive(Debug, Clone, Copy, Default)]
pub struct RecoverLayer(());

impl RecoverLayer {
    /// Makes the layer.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for RecoverLayer {
    type Service = Recover<S>;

    fn layer(&self, inner: S) -> Recover<S> {
        Recover::new(inner)
    }
}
