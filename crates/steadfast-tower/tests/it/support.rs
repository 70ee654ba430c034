use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use steadfast_core::panic::{self, Observer, Report};
use steadfast_core::report;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

pub(crate) type Answer = Result<Response<Full<Bytes>>, Infallible>;

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).body(Full::default()).unwrap()
}

pub(crate) async fn json<B>(response: Response<B>) -> serde_json::Value
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

/// What was told of a panic.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) message: String,
    pub(crate) trace_id: Option<String>,
    pub(crate) contained: bool,
}

/// Hears of panics.
pub(crate) struct Panics {
    heard: Arc<Mutex<Vec<Heard>>>,
    _observer: Observer,
}

impl Panics {
    /// Hears of those whose message begins so.
    pub(crate) fn of(prefix: &'static str) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = heard.clone();
        let observer = panic::observe(move |report: &Report| {
            if report.message().starts_with(prefix) {
                let entry = Heard {
                    message: report.message().to_owned(),
                    trace_id: report.context().trace_id().map(|id| id.to_string()),
                    contained: report.contained(),
                };
                hear.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(entry);
            }
        });
        Self {
            heard,
            _observer: observer.expect("there is room for observers"),
        }
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        panic::flush(std::time::Duration::from_secs(10));
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A body that panics after some frames, or when it is dropped.
#[derive(Default)]
pub(crate) struct Bomb {
    pub(crate) paused: bool,
    pub(crate) frames: u32,
    pub(crate) in_drop: Option<&'static str>,
    pub(crate) in_frame: Option<&'static str>,
}

impl Body for Bomb {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // After each frame a pause, in which a server sends what it has.
        if std::mem::take(&mut self.paused) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.frames > 0 {
            self.frames -= 1;
            self.paused = true;
            return Poll::Ready(Some(Ok(Frame::data("frame\n".into()))));
        }
        match self.in_frame {
            Some(message) => panic!("{message}"),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if let Some(message) = self.in_drop
            && !std::thread::panicking()
        {
            panic!("{message}");
        }
    }
}

/// Serves on a free port of the loopback for as long as the test runs.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    steadfast_core::spawn("server", async move { axum::serve(listener, app).await });
    address
}

/// Sends a request and reads until the server closes.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Keeps a second subscriber, from the first call on. While there is only one, a line that another test's
/// thread writes first would be disabled for all.
pub(crate) fn several_subscribers() {
    static SECOND: LazyLock<tracing::Dispatch> =
        LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));
    LazyLock::force(&SECOND);
}

/// What was written to the log.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Takes the lines of this thread, as long as the guard lives.
    pub(crate) fn listen(&self) -> DefaultGuard {
        several_subscribers();
        let lines = self.clone();
        let fmt = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || lines.clone());
        tracing::subscriber::set_default(tracing_subscriber::registry().with(fmt))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Gives the lines that have this part in them.
    pub(crate) fn with(&self, part: &str) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter(|line| line.contains(part));
        lines.map(str::to_owned).collect()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serves by the path: `/wait` for ever, `/fail` with an error, anything else with a body of two
/// frames. Knows how many of its futures and bodies there are.
#[derive(Clone, Default)]
pub(crate) struct Shop {
    live: Arc<AtomicUsize>,
}

impl Shop {
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    fn held(&self) -> Held {
        self.live.fetch_add(1, Ordering::SeqCst);
        Held(self.live.clone())
    }
}

/// Counts as long as it lives.
pub(crate) struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A body of so many frames that do not know how many there are.
pub(crate) struct Goods {
    frames: usize,
    _held: Held,
}

impl Body for Goods {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = self.frames;
        self.frames = left.saturating_sub(1);
        Poll::Ready((left > 0).then(|| Ok(Frame::data("goods".into()))))
    }
}

impl Service<Request<Full<Bytes>>> for Shop {
    type Response = Response<Goods>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Response<Goods>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let held = self.held();
        Box::pin(async move {
            match request.uri().path() {
                "/wait" => std::future::pending().await,
                "/fail" => Err(io::Error::other("broken")),
                _ => Ok(Response::new(Goods {
                    frames: 2,
                    _held: held,
                })),
            }
        })
    }
}

/// Checks what tower expects of every layer, over a service that can do one thing at a time:
/// whatever is dropped, and whatever fails, gives its place back, and errors stay what they are.
pub(crate) async fn keeps_the_contract<L, B>(layer: L)
where
    L: Layer<ConcurrencyLimit<Shop>>,
    L::Service: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
    <L::Service as Service<Request<Full<Bytes>>>>::Error: fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: fmt::Debug,
{
    let shop = Shop::default();
    let service = layer.layer(ConcurrencyLimit::new(shop.clone(), 1));
    let call = |path: &str| service.clone().oneshot(get(path));

    let mut waiting = Box::pin(call("/wait"));
    assert!(poll_once(waiting.as_mut()).await.is_none());
    assert_eq!(shop.live(), 1);
    drop(waiting);
    assert_eq!(
        shop.live(),
        0,
        "a future that is dropped gives its place back"
    );

    let Err(error) = call("/fail").await else {
        panic!("it fails")
    };
    assert!(format!("{error:?}").contains("broken"), "{error:?}");

    let mut readied = service.clone();
    readied.ready().await.map_err(|_| "it is ready").unwrap();
    drop(readied);

    let response = call("/").await.unwrap();
    assert_eq!(shop.live(), 1);
    drop(response);
    assert_eq!(
        shop.live(),
        0,
        "a body that is dropped gives its place back"
    );

    let body = call("/").await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "goodsgoods");
}

/// Tells what the report has under a name and some labels; counters of several are added up, since a test beside may have a
/// guard with the same names.
pub(crate) fn reported(name: &str, labels: &[(&str, &str)]) -> Option<report::Value> {
    let snapshot = report::snapshot();
    let metrics = snapshot.metrics().filter(|metric| {
        let has = |(key, value): &(&str, &str)| {
            let mut known = metric.labels.iter();
            known.any(|(k, v)| k == key && v.as_str() == *value)
        };
        metric.name == name && labels.iter().all(has)
    });
    let values = metrics.map(|metric| metric.value.clone());
    values.reduce(|sum, other| match (sum, other) {
        (report::Value::Counter(sum), report::Value::Counter(other)) => {
            report::Value::Counter(sum + other)
        }
        (first, _) => first,
    })
}

/// Polls once.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
