use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use steadfast_core::clock::{self, Alarm};
use steadfast_core::context::Captured;
use steadfast_core::{recover_async, spawn};
use tokio::net::TcpStream;
use tower_service::Service;

use super::Shared;
use super::io::Io;
use super::observed::Observed;
use super::stream::Stream;
use crate::guard::Peer;
use crate::guard::seen::Line;
use crate::recover::Recover;
use crate::streams::Connection;

/// The most bytes of a head: 32 KiB, as proxies in front usually allow.
const HEAD_BYTES_MAX: u32 = 32 * 1024;

/// The most fields of a head over HTTP/1: 100, several times what browsers send.
const HEAD_FIELDS_MAX: usize = 100;

/// The most requests at a time on a connection of HTTP/2: 100, the least that the standard advises.
const STREAMS_MAX: u32 = 100;

/// How often a peer of HTTP/2 is asked whether it is there, and how long it has to answer: 20 s each,
/// so that one that is gone without a word is known within a minute.
const PING: Duration = Duration::from_secs(20);

/// Serves one connection to its end.
pub(super) async fn serve<S, B>(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    app: Recover<S>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>> + Send,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let _open = Counted::new(&shared);
    // Answers are whole when they are written; waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let Some(stream) = shaken(&shared, stream, peer).await else {
        return;
    };
    let (line, held, bounds) = (
        Arc::new(Line::default()),
        Connection::default(),
        shared.bounds,
    );
    let io = Io::new(
        stream,
        line.clone(),
        held.clone(),
        bounds.header_read,
        bounds.write,
    );
    let service = Observed {
        app,
        shared: shared.clone(),
        line: line.clone(),
        peer: Peer(peer),
        held,
    };
    let server = builder(bounds.keep_alive);
    let served = server.serve_connection_with_upgrades(TokioIo::new(io), service);
    let mut served = pin!(served);
    let drain = shared.guard.drain();
    let mut stop = pin!(drain.stop_accepting());
    let mut lower = pin!(drain.lower_limit());
    let mut hard = pin!(drain.hard_limit());
    let mut ended = pin!(shared.ended.cancelled());
    let mut look_at = clock::now() + bounds.write;
    let mut look = Alarm::new(look_at);
    // A request has nothing to do with whoever has started the server.
    let mut nowhere = Captured::empty();
    let (mut watched, mut stopping, mut lower_over) = (false, false, false);
    let cut = std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(end) = nowhere.enter(|| served.as_mut().poll(cx)) {
                if let Err(error) = end {
                    shared.ends.tell(&*error, &line, peer);
                }
                return Poll::Ready(false);
            }
            // Each of what follows wakes this task when its time has come. To ask all of them whenever the
            // connection moves cost 3,300 instructions a request.
            let is_calm = drain.is_ready() && !shared.ended.is_cancelled();
            if watched && is_calm && clock::now() < look_at {
                return Poll::Pending;
            }
            watched = true;
            let mut leave = !stopping && stop.as_mut().poll(cx).is_ready();
            lower_over = lower_over || lower.as_mut().poll(cx).is_ready();
            if lower_over && !line.serves_core() {
                return Poll::Ready(true);
            }
            if hard.as_mut().poll(cx).is_ready() || ended.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            while look.poll_over(cx).is_ready() {
                let now = clock::now();
                let before = clock::nanos_at(now).saturating_sub(bounds.write.as_nanos() as u64);
                let (some, all) = line.stalled(before);
                if all {
                    return Poll::Ready(true);
                }
                leave |= some && !stopping;
                look_at = now + bounds.write;
                look.set(look_at);
            }
            if !leave {
                return Poll::Pending;
            }
            stopping = true;
            served.as_mut().graceful_shutdown();
            // One that is idle ends with the next look.
        }
    });
    if cut.await {
        shared.cut.fetch_add(1, Ordering::Relaxed);
    }
}

/// Gives what is served over; nothing for a connection with which it does not come to that.
async fn shaken(shared: &Shared, stream: TcpStream, peer: SocketAddr) -> Option<Stream> {
    let Some(handshake) = &shared.handshake else {
        return Some(Stream::Socket(stream));
    };
    let made = recover_async(async { handshake(stream).await });
    let made = clock::timeout(shared.bounds.header_read, made);
    let error = tokio::select! {
        biased;
        made = made => match made {
            Ok(Ok(Ok(stream))) => return Some(stream),
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) => io::Error::other("the handshake panicked"),
            Err(_) => io::Error::new(ErrorKind::TimedOut, "the handshake did not end in time"),
        },
        // Who is not known yet has sent no request.
        () = shared.guard.drain().stop_accepting() => return None,
        _ = shared.ended.cancelled() => return None,
    };
    shared.ends.handshake(&error, peer);
    None
}

fn builder(keep_alive: Duration) -> Builder<Executor> {
    let mut server = Builder::new(Executor);
    server
        .http1()
        .timer(TokioTimer::new())
        // The wait for the next head, too: one that has begun is waited for by the socket.
        .header_read_timeout(keep_alive)
        .max_headers(HEAD_FIELDS_MAX)
        .max_buf_size(HEAD_BYTES_MAX as usize);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX);
    server
}

/// Starts the tasks of HTTP/2, one for each request.
#[derive(Clone)]
struct Executor;

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        drop(spawn("request", Captured::empty().wrap(future)));
    }
}

/// Counts a connection for as long as it is open.
struct Counted<'a>(&'a Shared);

impl<'a> Counted<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
