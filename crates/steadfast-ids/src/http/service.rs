//! The service that hands ids out.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request};
use steadfast_core::report::{self, Collector, MetricDoc};
use tower_service::Service;

use super::COUNT_MAX;
use super::answer::{Answer, Problem, many, one};
use crate::atomic::{AtomicU64, Ordering::Relaxed};
#[cfg(feature = "sql")]
use crate::dense::Dense;
use crate::generator::{Generator, NextError};

/// Hands ids out over HTTP; see [the module](super). A tower service, cheap to clone.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), steadfast_core::BoxError> {
/// use http::{Request, StatusCode};
/// use steadfast_ids::Generator;
/// use steadfast_ids::http::IdService;
/// use tower_service::Service;
///
/// let mut service = IdService::builder()
///     .generator("order", Generator::builder(7).build()?)
///     .build()?;
///
/// let answer = service.call(Request::post("/order").body(())?).await?;
/// assert_eq!(answer.status(), StatusCode::OK);
/// let unknown = service.call(Request::post("/nothing").body(())?).await?;
/// assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct IdService {
    names: Arc<Names>,
}

/// Says which ids an [`IdService`] hands out.
#[derive(Default)]
#[must_use = "a service is made by `build`"]
pub struct IdServiceBuilder {
    makers: Vec<(String, Maker)>,
}

/// Refuses a name of ids: it stands in paths and in metrics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name {0:?} is not 1 to 64 of a to z, 0 to 9, `-` and `_`, or is there twice")]
pub struct InvalidName(pub String);

struct Names {
    known: HashMap<String, Named>,
}

struct Named {
    maker: Maker,
    served: AtomicU64,
    refused: AtomicU64,
}

/// When to come back to a service that is about to go: in a second, by when a balancer has noticed.
const GOING: Duration = Duration::from_secs(1);

#[derive(Clone)]
enum Maker {
    Generator(Generator),
    #[cfg(feature = "sql")]
    Dense(Dense),
}

/// Answers when there is an id; made by [`IdService`].
pub struct IdFuture(State);

enum State {
    Ready(Option<Answer>),
    Waiting(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl IdService {
    /// Starts to say which ids are handed out.
    pub fn builder() -> IdServiceBuilder {
        IdServiceBuilder::default()
    }

    fn answer<B>(&self, request: &Request<B>) -> State {
        let name = request.uri().path().trim_matches('/');
        let Some(named) = self.names.known.get(name) else {
            return State::ready(Problem::Name.answer());
        };
        if request.method() != Method::POST {
            return State::ready(Problem::Method.answer());
        }
        let Some(count) = count(request.uri().query()) else {
            return State::ready(Problem::Count.answer());
        };
        // Nearly always there is one at once, and nothing to box.
        if count.is_none()
            && let Maker::Generator(ids) = &named.maker
            && let Ok(id) = ids.try_next()
        {
            named.served.fetch_add(1, Relaxed);
            return State::ready(one(id));
        }
        let (names, name) = (self.names.clone(), name.to_owned());
        State::Waiting(Box::pin(async move {
            match names.known.get(&name) {
                Some(named) => named.make(count).await,
                None => Problem::Name.answer(),
            }
        }))
    }
}

/// Reads how many are wanted: `Some(None)` for one alone, `None` for what is no count.
fn count(query: Option<&str>) -> Option<Option<u32>> {
    let mut found = None;
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        if let Some(count) = pair.strip_prefix("count=") {
            let count = count
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then_some(count)?;
            found = Some(
                count
                    .parse()
                    .ok()
                    .filter(|count| (1..=COUNT_MAX).contains(count))?,
            );
        }
    }
    Some(found)
}

impl Named {
    async fn make(&self, count: Option<u32>) -> Answer {
        let (made, answer) = match &self.maker {
            Maker::Generator(ids) => match count {
                None => (1, ids.next().await.map(one).map_err(Problem::from)),
                Some(count) => match ids.batch(count).await {
                    Ok(batch) => (batch.len() as u64, Ok(many(batch))),
                    Err(error) => (0, Err(error.into())),
                },
            },
            #[cfg(feature = "sql")]
            Maker::Dense(ids) => match count {
                None => (1, ids.next().await.map(one).map_err(Problem::from)),
                Some(count) => match ids.batch(count).await {
                    Ok(batch) => (batch.len() as u64, Ok(many(batch.into_iter()))),
                    Err(error) => (0, Err(error.into())),
                },
            },
        };
        match answer {
            Ok(answer) => {
                self.served.fetch_add(made, Relaxed);
                answer
            }
            Err(problem) => {
                self.refused.fetch_add(1, Relaxed);
                problem.answer()
            }
        }
    }
}

impl From<NextError> for Problem {
    fn from(error: NextError) -> Self {
        if error.is_end_of_life() {
            return Self::EndOfLife(error.to_string());
        }
        // One that has given its worker id back is about to go: others are there.
        let wait = error.retry_after().unwrap_or(GOING);
        Self::Fenced(error.to_string(), wait)
    }
}

#[cfg(feature = "sql")]
impl From<crate::Error> for Problem {
    fn from(error: crate::Error) -> Self {
        if error.is_tag_ended() {
            return Self::EndOfLife(error.to_string());
        }
        Self::UsedUp(error.to_string(), error.retry_after())
    }
}

impl<B> Service<Request<B>> for IdService {
    type Response = Answer;
    type Error = Infallible;
    type Future = IdFuture;

    /// Always ready: an id costs less than a queue.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> IdFuture {
        IdFuture(self.answer(&request))
    }
}

impl State {
    fn ready(answer: Answer) -> Self {
        Self::Ready(Some(answer))
    }
}

impl Future for IdFuture {
    type Output = Result<Answer, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(answer) => {
                Poll::Ready(Ok(answer.take().expect("not polled after its end")))
            }
            State::Waiting(waiting) => waiting.as_mut().poll(cx).map(Ok),
        }
    }
}

impl IdServiceBuilder {
    /// Hands out the ids of a generator under a name: the last part of the path.
    pub fn generator(self, name: impl Into<String>, ids: Generator) -> Self {
        self.with(name, Maker::Generator(ids))
    }

    /// Hands out dense ids under a name: the last part of the path.
    #[cfg(feature = "sql")]
    pub fn segments(self, name: impl Into<String>, ids: Dense) -> Self {
        self.with(name, Maker::Dense(ids))
    }

    fn with(mut self, name: impl Into<String>, maker: Maker) -> Self {
        self.makers.push((name.into(), maker));
        self
    }

    /// Makes the service, and has it tell about itself in [`report`](mod@steadfast_core::report).
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn build(self) -> Result<IdService, InvalidName> {
        let mut known = HashMap::new();
        for (name, maker) in self.makers {
            let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
            let named = Named {
                maker,
                served: AtomicU64::new(0),
                refused: AtomicU64::new(0),
            };
            let is_name = (1..=64).contains(&name.len()) && name.bytes().all(fits);
            if !is_name || known.contains_key(&name) {
                return Err(InvalidName(name));
            }
            known.insert(name, named);
        }
        let names = Arc::new(Names { known });
        // One too many to be seen is no reason not to work.
        let _ = report::register("ids service", &names);
        Ok(IdService { names })
    }
}

impl fmt::Debug for IdService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.names.known.keys().collect();
        f.debug_struct("IdService").field("names", &names).finish()
    }
}

impl fmt::Debug for IdServiceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.makers.iter().map(|(name, _)| name).collect();
        f.debug_struct("IdServiceBuilder")
            .field("names", &names)
            .finish()
    }
}

impl fmt::Debug for IdFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdFuture").finish_non_exhaustive()
    }
}

pub(crate) const METRICS: &[MetricDoc] = &[
    MetricDoc::counter(
        "steadfast_ids_served_total",
        &["name"],
        "Ids that were handed out over HTTP.",
    ),
    MetricDoc::counter(
        "steadfast_ids_refused_total",
        &["name"],
        "Requests for ids that got none: fenced, used up, or at the end of life.",
    ),
];

impl report::Source for Names {
    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }

    fn collect(&self, to: &mut Collector) {
        for (name, named) in &self.known {
            to.labels([("name", name.clone().into())])
                .counter("steadfast_ids_served_total", named.served.load(Relaxed))
                .counter("steadfast_ids_refused_total", named.refused.load(Relaxed));
        }
    }
}
