//! A server whose connections cannot be held for ever.

mod body;
mod connection;
mod ended;
mod io;
mod observed;
mod stream;

pub(crate) use ended::SERVE_END_EVENTS;

use std::error::Error;
use std::fmt;
use std::future::IntoFuture;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use steadfast_core::report::{self, Collector, EventDoc, MetricDoc, Source};
use steadfast_core::{Cancel, Cause, WaitGroup, clock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower_service::Service;

use super::Guard;
use crate::count::Count;
use crate::drain::Drained;
use crate::recover::Recover;
use ended::{Ends, Panics, SERVE_END_METRICS};
use stream::{Handshake, Stream};

/// How a server of [`Guard::serve`] goes about its connections. A future: await it.
#[must_use = "it serves when it is awaited"]
pub struct Serve<S> {
    guard: Guard,
    listener: TcpListener,
    app: S,
    bounds: Bounds,
    handshake: Option<Handshake>,
}

/// What connections may do.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    connections: usize,
    header_read: Duration,
    keep_alive: Duration,
    write: Duration,
}

/// What came of serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// What came of the requests.
    pub drained: Drained,
    /// How many connections were closed while something was served on them: at a limit of the drain,
    /// or because their client did not read.
    pub cut: usize,
}

/// How long to wait before the next attempt when a connection cannot be taken for a reason that is
/// ours: 100 ms. Descriptors come back as connections end.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

impl Guard {
    /// Serves an app that was [protected](Self::protect), over HTTP/1.1 and HTTP/2 without
    /// encryption (unless [something](Serve::over) is put over each), until the guard has drained. By
    /// connection it promises:
    ///
    /// - The head of a request is there within [10 s](Serve::header_read), the first one counted
    ///   from the connection; an idle connection is closed after [75 s](Serve::keep_alive).
    /// - A client that does not take its answer is not waited for: a connection that takes no byte
    ///   for [30 s](Serve::write) is closed. One of HTTP/2, on which others read, takes no new
    ///   requests then, and is closed when only such are left.
    /// - There are at most [10,000](Serve::connections); more wait with the kernel. A head has at
    ///   most 32 KiB and 100 fields, and a connection of HTTP/2 at most 100 requests at a time.
    /// - **Drain**: once the notice is over, no connection is taken, and idle ones are closed at
    ///   once. When the time for what is below core is over (`lower`), connections on which nothing
    ///   of core is served are closed; at the hard limit, all.
    /// - An answer that was made past the guard is told, in [`armed`](Self::armed) and as an event.
    /// - A panic in a layer around the guard is answered as one inside of it, with `500` and the
    ///   trace id, and takes no other request of its connection along.
    /// - What is no request, or has too large a head, is answered with `400`, `414` or `431` by the
    ///   server itself: counted in `steadfast_serve_connection_errors_total`, and told once a second.
    ///   Over HTTP/2 a head that is too large is refused on its stream, and not counted.
    ///
    /// Each request has the address of its client as its extension [`Peer`](super::Peer).
    ///
    /// It ends when the guard [drains](Self::drain): begin that by hand, or have it
    /// [follow](Self::follow) a shutdown.
    ///
    /// # Panics
    /// Awaited outside a tokio runtime with timer and I/O.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and all connections.
    ///
    /// # Examples
    /// ```no_run
    /// # #[cfg(feature = "axum")]
    /// # async fn serve(
    /// #     guard: steadfast_tower::Guard,
    /// #     shutdown: steadfast_core::Shutdown,
    /// #     routes: axum::Router,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// guard.follow(&shutdown)?;
    /// let app = guard.protect(routes).await?;
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    /// let served = guard.serve(listener, app).await;
    /// assert!(served.drained.is_clean());
    /// # Ok(()) }
    /// ```
    pub fn serve<S>(&self, listener: TcpListener, app: S) -> Serve<S> {
        Serve {
            guard: self.clone(),
            listener,
            app,
            bounds: Bounds {
                connections: 10_000,
                header_read: Duration::from_secs(10),
                keep_alive: Duration::from_secs(75),
                write: Duration::from_secs(30),
            },
            handshake: None,
        }
    }
}

impl<S> Serve<S> {
    /// Bounds the connections at a time: 10,000 by default, which at about 20 KiB for one that is
    /// idle are 200 MiB. Below the limit of open files of the process, or that is reached first.
    ///
    /// # Panics
    /// When there may be none.
    pub fn connections(mut self, connections: usize) -> Self {
        assert!(
            connections > 0,
            "a server without connections serves nobody"
        );
        self.bounds.connections = connections.min(Semaphore::MAX_PERMITS);
        self
    }

    /// Bounds the time until the head of a request is there: 10 s by default, in which the slowest
    /// phone has sent a few packets.
    pub fn header_read(mut self, time: Duration) -> Self {
        self.bounds.header_read = time;
        self
    }

    /// Bounds the time between two requests of a connection: 75 s by default. Longer than the 60 s
    /// for which common load balancers keep theirs, since whoever closes first must not be the
    /// server: a request might be on its way.
    pub fn keep_alive(mut self, time: Duration) -> Self {
        self.bounds.keep_alive = time;
        self
    }

    /// Bounds the time in which a client takes nothing of what is there for it: 30 s by default, as
    /// long as the body of a response may stand still.
    pub fn write(mut self, time: Duration) -> Self {
        self.bounds.write = time;
        self
    }

    /// Serves over what a handshake makes of each connection, such as TLS. It runs beside those of
    /// others, has as long as [a head](Self::header_read), and counts as one of the
    /// [connections](Self::connections). One that fails, panics or takes too long is closed, and counted
    /// in `steadfast_serve_connection_errors_total` as `handshake`. One that is not done when the drain
    /// takes no connection any more is closed, too.
    ///
    /// What stands over a connection may keep bytes on their way to the client; it has
    /// [as long](Self::write) to give all of them as a client has to take any.
    ///
    /// # Examples
    /// ```
    /// # use steadfast_tower::Guard;
    /// # use tokio::net::{TcpListener, TcpStream};
    /// # fn tls(guard: &Guard, listener: TcpListener, app: impl Sized) {
    /// // With `tokio_rustls::TlsAcceptor`: `acceptor.accept(stream)`.
    /// let serve = guard.serve(listener, app).over(|stream: TcpStream| async { Ok(stream) });
    /// # drop(serve);
    /// # }
    /// ```
    pub fn over<H, F, T>(mut self, handshake: H) -> Self
    where
        H: Fn(TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = std::io::Result<T>> + Send + 'static,
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.handshake = Some(Arc::new(move |stream| {
            let made = handshake(stream);
            Box::pin(async { Ok(Stream::Over(Box::new(made.await?))) })
        }));
        self
    }
}

impl<S, B> IntoFuture for Serve<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>> + Send,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Served;
    type IntoFuture = Pin<Box<dyn Future<Output = Served> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

async fn run<S, B>(serve: Serve<S>) -> Served
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>> + Send,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Serve {
        guard,
        listener,
        app,
        bounds,
        handshake,
    } = serve;
    let drain = guard.drain().clone();
    let shared = Arc::new(Shared {
        guard,
        bounds,
        handshake,
        open: AtomicUsize::new(0),
        taken: AtomicU64::new(0),
        cut: AtomicUsize::new(0),
        full: Count::default(),
        ends: Ends::default(),
        panics: Panics::default(),
        ended: Cancel::new(),
    });
    // Without a place in the report it still serves.
    let _ = report::register("serve", &shared);
    let _end = End(shared.ended.clone());
    // Its clones may panic, too.
    let app = Recover::new(app);
    let places = Arc::new(Semaphore::new(bounds.connections));
    let connections = WaitGroup::new();
    let mut stop = pin!(drain.stop_accepting());
    loop {
        if places.available_permits() == 0 {
            shared.tell_full();
        }
        let taken = async {
            let place = places.clone().acquire_owned().await;
            (place, accept(&listener).await)
        };
        let (place, (stream, peer)) = tokio::select! {
            biased;
            () = &mut stop => break,
            taken = taken => taken,
        };
        let (shared, app) = (shared.clone(), app.clone());
        shared.taken.fetch_add(1, Ordering::Relaxed);
        connections.spawn("connection", async move {
            connection::serve(shared, stream, peer, app).await;
            drop(place);
        });
    }
    drop(listener);
    connections.wait().await;
    Served {
        drained: drain.drained().await,
        cut: shared.cut.load(Ordering::Relaxed),
    }
}

/// Takes the next connection.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        let error = match listener.accept().await {
            Ok(taken) => return taken,
            Err(error) => error,
        };
        // The client's, who has left before it was taken.
        let gone = [
            ErrorKind::ConnectionRefused,
            ErrorKind::ConnectionAborted,
            ErrorKind::ConnectionReset,
        ];
        if gone.contains(&error.kind()) {
            continue;
        }
        tracing::error!(target: "steadfast::serve", %error, "a connection cannot be taken");
        clock::sleep(ACCEPT_AGAIN).await;
    }
}

/// What all connections of a server share.
struct Shared {
    guard: Guard,
    bounds: Bounds,
    handshake: Option<Handshake>,
    open: AtomicUsize,
    taken: AtomicU64,
    cut: AtomicUsize,
    full: Count,
    ends: Ends,
    panics: Panics,
    /// The server was dropped.
    ended: Cancel,
}

impl Shared {
    fn tell_full(&self) {
        if let Some(count) = self.full.add(clock::nanos()) {
            tracing::warn!(
                target: "steadfast::serve",
                connections = self.bounds.connections,
                count,
                "as many connections are open as may be; others wait"
            );
        }
    }
}

/// Ends all connections with the server.
struct End(Cancel);

impl Drop for End {
    fn drop(&mut self) {
        self.0.cancel(Cause::Shutdown);
    }
}

/// What it tells.
pub(crate) const SERVE_METRICS: &[MetricDoc] = &[
    MetricDoc::gauge(
        "steadfast_serve_connections",
        &[],
        "How many connections are open.",
    ),
    MetricDoc::gauge(
        "steadfast_serve_connections_limit",
        &[],
        "How many connections may be open at once.",
    ),
    MetricDoc::counter(
        "steadfast_serve_connections_total",
        &[],
        "Connections that were taken.",
    ),
    SERVE_END_METRICS[0],
    SERVE_END_METRICS[1],
];

/// What it tells to the log.
pub(crate) const SERVE_EVENTS: &[EventDoc] = &[
    EventDoc::new(
        "steadfast::serve",
        &["warn"],
        "as many connections are open as may be; others wait",
        &["connections", "count"],
    )
    .when("The bound of connections is reached; the first time at once, then once a second.")
    .action("See whether clients keep connections that they do not use; raise the bound, or start another instance."),
    EventDoc::new("steadfast::serve", &["error"], "a connection cannot be taken", &["error"])
        .when("The system has no descriptor or no memory for one more.")
        .action("Raise the limit of open files, or lower the bound of connections."),
];

impl Source for Shared {
    fn describe(&self) -> &'static [MetricDoc] {
        SERVE_METRICS
    }

    fn collect(&self, to: &mut Collector) {
        to.gauge(
            "steadfast_serve_connections",
            self.open.load(Ordering::Relaxed) as f64,
        )
        .gauge(
            "steadfast_serve_connections_limit",
            self.bounds.connections as f64,
        )
        .counter(
            "steadfast_serve_connections_total",
            self.taken.load(Ordering::Relaxed),
        );
        self.ends.collect(to);
        self.panics.collect(to);
    }
}

impl<S> fmt::Debug for Serve<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}
