//! How connections end that do not end well, and what panics on them outside of the guard.

use std::error::Error;
use std::net::SocketAddr;

use http::Method;
use steadfast_core::clock;
use steadfast_core::context::TraceId;
use steadfast_core::report::{Collector, EventDoc, MetricDoc};

use crate::access_log;
use crate::count::Count;
use crate::guard::seen::{Late, Line};

/// Why a connection has ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What is to be put over the connection, such as TLS, did not come about.
    Handshake,
    /// What came was no request: answered with 400.
    Malformed,
    /// The head was too large: answered with 431, or 414 for its address.
    TooLarge,
    /// A head did not come in time.
    HeadTimeout,
    /// The client has taken nothing for too long.
    Unread,
    /// HTTP/2 tells its own mistakes and those of the network alike.
    Http2,
    /// The client has left in the middle.
    BrokenOff,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Handshake,
        Self::Malformed,
        Self::TooLarge,
        Self::HeadTimeout,
        Self::Unread,
        Self::Http2,
        Self::BrokenOff,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::HeadTimeout => "head_timeout",
            Self::Unread => "unread",
            Self::Http2 => "http2",
            Self::BrokenOff => "broken_off",
        }
    }

    /// Says what an error is; nothing for a connection that was idle for as long as it may be, and for one whose
    /// answer broke here: the access log has that.
    fn of(error: &(dyn Error + 'static), line: &Line) -> Option<Self> {
        match line.late() {
            Some(Late::Head) => return Some(Self::HeadTimeout),
            Some(Late::Unread) => return Some(Self::Unread),
            None => {}
        }
        match hyper_of(error) {
            Some(hyper) if hyper.is_parse_too_large() => Some(Self::TooLarge),
            Some(hyper) if hyper.is_parse() => Some(Self::Malformed),
            Some(hyper) if hyper.is_timeout() || hyper.is_user() => None,
            _ if line.is_framed() => Some(Self::Http2),
            _ => Some(Self::BrokenOff),
        }
    }

    /// It has ended with a request that nobody but the server has seen.
    fn is_refused(self) -> bool {
        matches!(self, Self::Malformed | Self::TooLarge)
    }
}

/// Finds what the server itself has to say of an error.
fn hyper_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a hyper::Error> {
    let mut error = Some(error);
    while let Some(cause) = error {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        error = cause.source();
    }
    None
}

/// Counts how connections ended.
#[derive(Default)]
pub(super) struct Ends([Count; Kind::ALL.len()]);

impl Ends {
    /// Counts an end, and tells it: of requests that were refused the first one, and then one a
    /// second.
    pub(super) fn tell(&self, error: &(dyn Error + 'static), line: &Line, peer: SocketAddr) {
        tracing::debug!(target: "steadfast::serve", %peer, %error, "a connection broke off");
        let Some(kind) = Kind::of(error, line) else {
            return;
        };
        let due = self.0[kind as usize].add(clock::nanos());
        let Some(count) = due.filter(|_| kind.is_refused()) else {
            return;
        };
        tracing::info!(
            target: "steadfast::serve",
            kind = kind.as_str(),
            count,
            %peer,
            %error,
            "a request was refused before the guard"
        );
    }

    /// Counts a handshake that has failed. Scanners see to it that there are many.
    pub(super) fn handshake(&self, error: &std::io::Error, peer: SocketAddr) {
        tracing::debug!(target: "steadfast::serve", %peer, %error, "a connection broke off");
        self.0[Kind::Handshake as usize].add(clock::nanos());
    }

    pub(super) fn collect(&self, to: &mut Collector) {
        for kind in Kind::ALL {
            to.labels([("kind", kind.as_str().into())]).counter(
                "steadfast_serve_connection_errors_total",
                self.0[kind as usize].total(),
            );
        }
    }
}

/// Counts what panicked outside of the guard.
#[derive(Default)]
pub(super) struct Panics(Count);

impl Panics {
    pub(super) fn tell(&self, method: &Method, path: &str, trace_id: TraceId) {
        if let Some(count) = self.0.add(clock::nanos()) {
            tracing::error!(
                target: "steadfast::serve",
                %method,
                path = access_log::head(path),
                %trace_id,
                count,
                "a layer outside of the guard panicked"
            );
        }
    }

    pub(super) fn collect(&self, to: &mut Collector) {
        to.counter("steadfast_serve_panics_total", self.0.total());
    }
}

/// What it tells.
pub(crate) const SERVE_END_METRICS: [MetricDoc; 2] = [
    MetricDoc::counter(
        "steadfast_serve_connection_errors_total",
        &["kind"],
        "Connections that did not end well: `handshake` before TLS, or what else is put over them, had come about; `malformed` and `too_large` are answered by the server itself, with 400, 414 and 431, and reach no handler; `head_timeout` and `unread` were not waited for; `broken_off` by the client; `http2` whatever that protocol calls an error.",
    ),
    MetricDoc::counter(
        "steadfast_serve_panics_total",
        &[],
        "Requests that panicked in a layer outside of the guard, and were answered with 500 by the server.",
    ),
];

/// What it tells to the log.
pub(crate) const SERVE_END_EVENTS: &[EventDoc] = &[
    EventDoc::new(
        "steadfast::serve",
        &["debug"],
        "a connection broke off",
        &["error", "peer"],
    )
    .when("A client has left in the middle, or was not waited for any longer, or the body of an answer broke.")
    .action("None; the access log has what became of its requests."),
    EventDoc::new(
        "steadfast::serve",
        &["info"],
        "a request was refused before the guard",
        &["count", "error", "kind", "peer"],
    )
    .when("What came was no request, or its head was too large: answered with 400, 414 or 431. The first of each kind at once, then one a second with the `count` since.")
    .action("None, unless it is a client of yours: it has no line in the access log, since no handler has seen it."),
    EventDoc::new(
        "steadfast::serve",
        &["error"],
        "a layer outside of the guard panicked",
        &["count", "method", "path", "trace_id"],
    )
    .when("A layer that stands around what `Guard::protect` gave back, or something served beside it, panicked; answered with 500. The first at once, then one a second with the `count` since.")
    .action("The event `panic` with this `trace_id` has the place. Put the layer inside of the guard, where its requests are governed and have their line."),
];

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body::{Body, Frame};
    use hyper::body::Incoming;
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    use tokio::io::AsyncWriteExt;
    use tower::service_fn;

    use super::*;

    #[test]
    fn an_end_is_named_by_what_was_not_waited_for_before_what_the_error_says() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let of = |framed: bool, late: Option<Late>| {
            let line = Line::default();
            if framed {
                line.set_framed();
            }
            late.into_iter().for_each(|late| line.set_late(late));
            Kind::of(&reset, &line)
        };

        assert_eq!(of(false, None), Some(Kind::BrokenOff));
        assert_eq!(of(true, None), Some(Kind::Http2));
        assert_eq!(of(true, Some(Late::Unread)), Some(Kind::Unread));
        assert_eq!(of(false, Some(Late::Head)), Some(Kind::HeadTimeout));
    }

    struct Broken;

    impl Body for Broken {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            Poll::Ready(Some(Err(io::Error::other("broken"))))
        }
    }

    #[tokio::test]
    async fn an_answer_that_breaks_is_not_laid_to_its_client() {
        let (mut client, server) = tokio::io::duplex(4_096);
        let service =
            service_fn(async |_: Request<Incoming>| Ok::<_, io::Error>(Response::new(Broken)));
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(server), TowerToHyperService::new(service));
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        client.write_all(request).await.unwrap();

        let error = served.await.unwrap_err();

        assert_eq!(Kind::of(&error, &Line::default()), None, "{error:?}");
    }
}
