//! A client that has ids before they are wanted.

use std::error::Error as StdError;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use steadfast_core::{BoxError, clock, rng};
use tokio::sync::Notify;
use tower_service::Service;

use crate::id::Id;
use crate::prefetch::{InvalidPrefetch, Prefetch, PrefetchConfig};

/// The largest answer that is read: 1 MiB, four times what the most ids have.
const BODY_BYTES_MAX: usize = 1 << 20;

/// When to come back at the earliest: in a millisecond.
const SOON: Duration = Duration::from_millis(1);

/// The longest that a service is left alone because it said so: a minute. A `Retry-After` of years, of a proxy that is set up
/// wrong, would be the end of the client.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Has ids of an [`IdService`](super::IdService) before they are wanted. A cheap handle.
///
/// The transport is a tower service: the client of hyper, of reqwest behind tower, or a stack of layers with retries,
/// breakers and timeouts of your own around it.
///
/// # Examples
/// ```
/// # #[tokio::main] async fn main() -> Result<(), steadfast_core::BoxError> {
/// use std::time::Duration;
/// use steadfast_ids::Generator;
/// use steadfast_ids::http::{Client, ClientConfig, IdService};
///
/// // Here the service itself, without a network between.
/// let service = IdService::builder()
///     .generator("order", Generator::builder(7).build()?)
///     .build()?;
/// let config = ClientConfig::new("http://ids.internal/order".parse()?, Duration::from_secs(1));
/// let orders = Client::new(service, config)?;
///
/// assert!(orders.next().await? < orders.next().await?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// Where a [`Client`] gets its ids, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// The address of the ids, without a count.
    pub uri: Uri,
    /// How long a request may take. Nobody waits for longer than that.
    pub timeout: Duration,
    /// When ids are fetched, and how many.
    pub prefetch: PrefetchConfig,
}

/// Says why there is no id.
#[derive(Clone, Debug)]
pub struct FetchError {
    why: Arc<Why>,
    retry_after: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("the service of ids cannot be reached")]
    Transport(#[source] BoxError),
    #[error("the service of ids has not answered within {0:?}")]
    Timeout(Duration),
    #[error("the service of ids answered {status}: {detail}")]
    Status { status: StatusCode, detail: String },
    #[error("the answer of the service of ids is none: {0}")]
    Answer(String),
    #[error("the ids are used up, and no fetch has ended yet")]
    Unfinished,
}

type Fetch = Pin<Box<dyn Future<Output = Result<Vec<Id>, FetchError>> + Send>>;

struct Shared {
    fetch: Box<dyn Fn(u32) -> Fetch + Send + Sync>,
    timeout: Duration,
    state: Mutex<State>,
    came: Notify,
}

struct State {
    stock: Prefetch,
    last: Option<FetchError>,
}

impl ClientConfig {
    /// Describes where ids are, with the usual times of [`PrefetchConfig`].
    #[must_use]
    pub fn new(uri: Uri, timeout: Duration) -> Self {
        Self {
            uri,
            timeout,
            prefetch: PrefetchConfig::default(),
        }
    }
}

impl Client {
    /// Makes a client; ids are fetched when the first one is wanted.
    ///
    /// # Errors
    /// [`InvalidPrefetch`].
    pub fn new<S, B>(transport: S, config: ClientConfig) -> Result<Self, InvalidPrefetch>
    where
        S: Service<Request<Empty<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let ClientConfig {
            uri,
            timeout,
            prefetch,
        } = config;
        let fetch = move |count| -> Fetch {
            let (transport, uri) = (transport.clone(), uri.clone());
            Box::pin(async move {
                let asked = ask(transport, &uri, count);
                match clock::timeout(timeout, asked).await {
                    Ok(answer) => answer,
                    Err(_) => Err(Why::Timeout(timeout).into()),
                }
            })
        };
        let stock = Prefetch::new(prefetch)?;
        Ok(Self {
            shared: Arc::new(Shared {
                fetch: Box::new(fetch),
                timeout,
                state: Mutex::new(State { stock, last: None }),
                came: Notify::new(),
            }),
        })
    }

    /// Gives the next id. Waits only when all are used up and some are on their way, for one request at most.
    ///
    /// # Errors
    /// [`FetchError`], at once, when all are used up and the last request has failed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&self) -> Result<Id, FetchError> {
        loop {
            // Before it is looked, so that what comes in between is not missed.
            let mut came = pin!(self.shared.came.notified());
            came.as_mut().enable();
            if let Some(taken) = self.take() {
                return taken;
            }
            let timeout = self.shared.timeout;
            if clock::timeout(timeout, came).await.is_err() {
                // The request is about to be given up as well, and then there is another.
                return Err(FetchError {
                    retry_after: Some(SOON),
                    ..Why::Timeout(timeout).into()
                });
            }
        }
    }

    /// Tells how many ids are there without the service.
    #[must_use]
    pub fn stock(&self) -> usize {
        self.shared.state().stock.stock()
    }

    /// Gives what there is; `None` if some are on their way.
    fn take(&self) -> Option<Result<Id, FetchError>> {
        let now = clock::nanos();
        let mut state = self.shared.state();
        let next = state.stock.next(now);
        if let Some(count) = state.stock.fetch(now) {
            let fetching = Fetching(Some(self.shared.clone()));
            steadfast_core::spawn("ids", fetching.run(count));
        }
        match next {
            Some(id) => Some(Ok(id)),
            None if state.stock.is_coming() => None,
            None => {
                let wait = state.stock.fetch_from_ns().saturating_sub(now);
                let mut error = state.last.clone().unwrap_or(Why::Unfinished.into());
                error.retry_after = Some(Duration::from_nanos(wait).max(SOON));
                Some(Err(error))
            }
        }
    }
}

/// Asks the service for ids.
async fn ask<S, B>(mut transport: S, uri: &Uri, count: u32) -> Result<Vec<Id>, FetchError>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let transport_error = |error: BoxError| FetchError::from(Why::Transport(error));
    let mark = if uri.query().is_some() { '&' } else { '?' };
    let request = Request::post(format!("{uri}{mark}count={count}"))
        .body(Empty::new())
        .map_err(|error| transport_error(error.into()))?;
    poll_fn(|cx| transport.poll_ready(cx))
        .await
        .map_err(|error| transport_error(error.into()))?;
    let answer = transport.call(request).await;
    let (head, body) = answer
        .map_err(|error| transport_error(error.into()))?
        .into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(transport_error)?.to_bytes();
    if head.status != StatusCode::OK {
        let seconds = head
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        return Err(FetchError {
            retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
            ..Why::Status {
                status: head.status,
                detail: detail(&body),
            }
            .into()
        });
    }
    let read: Result<Many, _> = serde_json::from_slice(&body);
    let ids = read.map_err(|error| Why::Answer(error.to_string()))?.ids;
    if ids.is_empty() || ids.len() > count as usize {
        let why = format!("{} ids, and {count} were wanted", ids.len());
        return Err(Why::Answer(why).into());
    }
    if !ids.is_sorted_by(|one, next| one < next) {
        return Err(Why::Answer("its ids do not rise".to_owned()).into());
    }
    Ok(ids)
}

#[derive(serde::Deserialize)]
struct Many {
    ids: Vec<Id>,
}

/// Gives what a problem says, or nothing that could be anything.
fn detail(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
    }
    let problem: Option<Problem> = serde_json::from_slice(body).ok();
    let detail = problem.map_or_else(|| "no reason given".to_owned(), |problem| problem.detail);
    let printable = |char: char| if char.is_control() { ' ' } else { char };
    detail.chars().take(200).map(printable).collect()
}

/// A fetch on its way. One that is dropped (its runtime ends) has failed.
struct Fetching(Option<Arc<Shared>>);

impl Fetching {
    async fn run(mut self, count: u32) {
        let Some(shared) = self.0.clone() else { return };
        let came = (shared.fetch)(count).await;
        self.0 = None;
        {
            let mut state = shared.state();
            let now = clock::nanos();
            match came {
                Ok(ids) => {
                    state.stock.fetched(now, ids);
                    state.last = None;
                }
                Err(error) => {
                    state.stock.failed(now, rng::bits(), error.retry_after);
                    state.last = Some(error);
                }
            }
        }
        shared.came.notify_waiters();
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared
                .state()
                .stock
                .failed(clock::nanos(), rng::bits(), None);
            shared.came.notify_waiters();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("stock", &self.stock())
            .finish_non_exhaustive()
    }
}

// === impl FetchError ===

impl FetchError {
    /// Tells when the service is asked again; every error passes but that of a layout or a tag at its end.
    /// Within a minute, whatever the service says.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after.filter(|_| !self.is_end_of_life())
    }

    /// Tells whether the service says that there is never an id again.
    #[must_use]
    pub fn is_end_of_life(&self) -> bool {
        self.status() == Some(StatusCode::GONE)
    }

    /// Gives the status that the service answered, if it did.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match *self.why {
            Why::Status { status, .. } => Some(status),
            _ => None,
        }
    }
}

impl From<Why> for FetchError {
    fn from(why: Why) -> Self {
        Self {
            why: Arc::new(why),
            retry_after: None,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl StdError for FetchError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.why.source()
    }
}
