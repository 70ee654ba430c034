//! Answers that do not end by themselves, and how many of them there may be.
//!
//! # The problem
//! A page of live updates keeps its answer open for as long as somebody looks at it. A hundred such
//! pages hold a hundred of the permits that the orders need, for hours.
//!
//! # Why the usual answer fails
//! A concurrency limit counts a stream like a request that is done in ten milliseconds. A timeout
//! cuts off healthy ones, and a mean of all durations is no longer one of anything.
//!
//! # The tool
//! [`StreamsLayer`] has a budget of connections, of which each stream holds one until its body ends
//! or is dropped. What comes when all are taken is rejected as
//! [`Overloaded`](crate::Reason::Overloaded), before the handler is called.
//!
//! Where it stands in front of other routes, too ([`detecting`](StreamsLayer::detecting)), an answer
//! counts from its head on if it is one: `text/event-stream`, or `101`, which becomes another
//! protocol. If there is no connection left for it, it is replaced by a rejection, without the
//! header that would prove to the caller that nothing was done: the handler has run. Of a connection
//! that has become another protocol the layer sees the end only where the server lets it
//! ([`Guard::serve`](crate::Guard::serve) does); elsewhere it counts until the answer is sent.
//!
//! The state belongs to the budget: clones of the layer, routes and connections share it. The layer
//! is always ready, and drives a clone of the inner service to ready once it has decided.
//!
//! In the [guard](crate::guard), routes of the kind `stream` have the budget that they name, hold a
//! permit of their admission only until their head is there, and are not learned from.
//!
//! # What it tells
//! To [`report`](mod@steadfast_core::report), each with the label `policy`:
//!
//! | metric | |
//! |---|---|
//! | `steadfast_streams_limit` | how many may be open |
//! | `steadfast_streams_open` | how many are |
//! | `steadfast_streams_opened_total` | how many were opened |
//!
//! # Examples
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use steadfast_core::decide::policy::Count;
//! use steadfast_tower::StreamsLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = ServiceBuilder::new()
//!     .layer(StreamsLayer::new("live", Count::new(1)?))
//!     .service(service_fn(async |_: Request<Full<Bytes>>| {
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from("data: 1\n\n")))
//!     }));
//! let listen = || service.clone().oneshot(Request::new(Full::default()));
//!
//! let first = listen().await?;
//! assert_eq!(listen().await?.status(), 503);
//!
//! drop(first);
//! assert_eq!(listen().await?.status(), 200);
//! # Ok(()) }
//! ```

mod budget;
mod future;
mod service;

#[cfg(feature = "serve")]
pub(crate) use budget::Connection;
pub(crate) use budget::{Budget, EVENTS, METRICS, Slot};
pub use future::StreamsFuture;
pub(crate) use future::{Held, no_room};
pub use service::Streams;

use std::fmt;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use steadfast_core::context::Name;
use steadfast_core::decide::policy::Count;
use steadfast_core::report;
use tower_layer::Layer;

use crate::{AnswerBody, HeldBody};

/// A response body that holds a connection of a budget until it has ended.
pub type StreamsBody<B> = HeldBody<AnswerBody<B>, Slot>;

/// Bounds how many streams there are; see the [module](self).
#[derive(Clone)]
pub struct StreamsLayer {
    budget: Arc<Budget>,
    all: bool,
}

impl StreamsLayer {
    /// Makes a budget of so many connections, by the name that rejections tell, for routes whose
    /// answers all are streams.
    pub fn new(name: impl Into<Name>, connections: Count) -> Self {
        let budget = Arc::new(Budget::new(name.into(), connections.get()));
        // Without a place in the report it still counts.
        let _ = report::register("streams", &budget);
        Self { budget, all: true }
    }

    /// The same budget in front of routes whose answers may turn out to be streams.
    #[must_use]
    pub fn detecting(mut self) -> Self {
        self.all = false;
        self
    }
}

impl<S> Layer<S> for StreamsLayer {
    type Service = Streams<S>;

    fn layer(&self, inner: S) -> Streams<S> {
        Streams::new(inner, self.budget.clone(), self.all)
    }
}

impl fmt::Debug for StreamsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamsLayer").field(&self.budget).finish()
    }
}

/// Tells whether an answer is one that does not end by itself.
pub(crate) fn is_stream<B>(response: &Response<B>) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return true;
    }
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| {
        let (kind, rest) = kind
            .as_bytes()
            .split_at_checked(EVENTS.len())
            .unwrap_or_default();
        kind.eq_ignore_ascii_case(EVENTS) && matches!(rest.first(), None | Some(b';' | b' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_stream_by_its_kind_or_when_it_becomes_another_protocol() {
        let of = |kind: &'static str| {
            let mut response = Response::new(());
            let kind = http::HeaderValue::from_static(kind);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            is_stream(&response)
        };
        for (kind, stream) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("text/event-streams", false),
            ("text/event", false),
            ("text/html", false),
        ] {
            assert_eq!(of(kind), stream, "{kind}");
        }
        let mut response = Response::new(());
        assert!(!is_stream(&response));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        assert!(is_stream(&response));
    }
}
