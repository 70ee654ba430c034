use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use steadfast_core::BoxError;
use steadfast_core::clock::{self, Timestamp};
use steadfast_core::decide::policy::{FieldPath, Policy, Route, Setting, TimeoutPolicy};
use steadfast_core::report::{self, Collector, EventDoc, MetricDoc, Source};
use tower_service::Service;

use super::ask::{ASK_TIME, Prometheus};
use super::error::{AskError, Why};
use crate::policy::{Asked, Explanation, Origin, utc};

/// How long all questions together may take: 10 s, so that a start is late at most by that.
pub const ASK_ALL_TIME: Duration = Duration::from_secs(10);

/// What the learned timeouts of routes and dependencies start from.
#[derive(Debug, Clone, Default)]
pub struct Starts {
    by_route: BTreeMap<String, Start>,
    by_dependency: BTreeMap<String, Start>,
}

/// What one learned timeout starts from, after somebody was asked.
#[derive(Debug, Clone)]
pub struct Start {
    timeout: Duration,
    asked: Timestamp,
    /// In seconds, or why there is none.
    answer: Result<f64, String>,
    /// What the policy says.
    configured: Option<Duration>,
}

impl Starts {
    /// Asks for all routes and dependencies with a `timeout_start_query`, one after the other, and
    /// each question once.
    ///
    /// Never fails: what has no usable answer starts from what the policy says, and that is told.
    ///
    /// # Cancel safety
    /// Nothing is lost but the answers.
    pub async fn ask<S, B, Out>(policy: &Policy, prometheus: &mut Prometheus<S>) -> Self
    where
        S: Service<Request<B>, Response = Response<Out>>,
        S::Error: Into<BoxError>,
        B: Default,
        Out: Body,
        Out::Error: Into<BoxError>,
    {
        let until = clock::now() + ASK_ALL_TIME;
        let mut answers: HashMap<String, Result<f64, String>> = HashMap::new();
        let mut starts = Self::default();
        for Question {
            asker,
            timeout,
            query,
        } in questions(policy)
        {
            let answer = match answers.get(&query) {
                Some(answer) => answer.clone(),
                None => {
                    let left = until.saturating_duration_since(clock::now());
                    let asked = match left.is_zero() {
                        true => Err(AskError::from(Why::NoTimeLeft)),
                        false => prometheus.value_within(&query, left.min(ASK_TIME)).await,
                    };
                    let answer = asked.map_err(|error| reason(&error));
                    answers.insert(query, answer.clone());
                    answer
                }
            };
            let start = Start::of(timeout, answer);
            start.tell(asker);
            match asker {
                Asker::Route(key) => starts.by_route.insert(key.to_owned(), start),
                Asker::Dependency(name) => starts.by_dependency.insert(name.to_owned(), start),
            };
        }
        starts
    }

    /// Gives what the timeout of a route starts from, by the name that the policy has for the
    /// route; `None` where nobody was asked.
    pub fn route(&self, key: &str) -> Option<&Start> {
        self.by_route.get(key)
    }

    /// The same of a dependency.
    pub fn dependency(&self, name: &str) -> Option<&Start> {
        self.by_dependency.get(name)
    }

    /// Puts what was found out into the explanation of a route or a dependency.
    pub fn explain(&self, mut explanation: Explanation) -> Explanation {
        let known = [
            ("routes", &self.by_route),
            ("dependencies", &self.by_dependency),
        ];
        let mut known = known.into_iter().flat_map(|(table, starts)| {
            let named = starts.iter();
            named.map(move |(name, start)| (FieldPath::new([table, name.as_str()]), start))
        });
        let found = known.find(|(path, _)| path.to_string() == explanation.subject);
        let Some((_, start)) = found else {
            return explanation;
        };
        let tables = explanation.tables.iter_mut();
        let timeouts = tables.filter(|table| table.table.starts_with("timeouts."));
        let values = timeouts.flat_map(|table| &mut table.values);
        for value in values.filter(|value| value.key == "timeout_start") {
            let asked = Asked {
                unix_ms: start.asked.unix_millis(),
                utc: utc(start.asked),
            };
            value.origin = match &start.answer {
                Ok(seconds) => Origin::Measured {
                    answer: format!("{seconds} s"),
                    asked,
                    instead_of: value.value.replace(format!("\"{:?}\"", start.timeout)),
                },
                Err(reason) => Origin::NotMeasured {
                    reason: reason.clone(),
                    asked,
                    so: Box::new(value.origin.clone()),
                },
            };
        }
        explanation
    }
}

impl Start {
    fn of(timeout: &TimeoutPolicy, answer: Result<f64, String>) -> Self {
        let (floor, ceiling) = match timeout.timeout {
            Setting::Learn { floor, ceiling } => (floor.get(), ceiling.get()),
            Setting::Fixed(timeout) => (timeout.get(), timeout.get()),
        };
        let configured = timeout.start.map(|start| start.get());
        let answer = answer.and_then(|seconds| match seconds > 0.0 {
            true => Ok(seconds),
            false => Err(AskError::from(Why::NoTime(seconds.to_string())).to_string()),
        });
        let measured = answer.as_ref().ok().map(|seconds| {
            // Infinite, too: it is beyond the last bucket, and so beyond the ceiling.
            Duration::try_from_secs_f64(*seconds).unwrap_or(Duration::MAX)
        });
        let start = measured.or(configured).unwrap_or(ceiling);
        Self {
            timeout: start.max(floor).min(ceiling),
            asked: clock::timestamp(),
            answer,
            configured,
        }
    }

    /// Gives the timeout that is started from, within the bounds of the policy.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Tells whether it was measured; else it is what the policy says.
    pub fn is_measured(&self) -> bool {
        self.answer.is_ok()
    }

    /// Gives why nothing was measured.
    pub fn failure(&self) -> Option<&str> {
        self.answer.as_ref().err().map(String::as_str)
    }

    fn tell(&self, asker: Asker<'_>) {
        let (route, dependency) = match asker {
            Asker::Route(key) => (Some(key), None),
            Asker::Dependency(name) => (None, Some(name)),
        };
        let start_s = self.timeout.as_secs_f64();
        match &self.answer {
            Ok(answer_s) => {
                TALLY.measured.fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    target: "steadfast::start",
                    route,
                    dependency,
                    start_s,
                    answer_s,
                    "a learned timeout starts from what was measured"
                );
            }
            Err(reason) => {
                TALLY.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    target: "steadfast::start",
                    route,
                    dependency,
                    start_s,
                    is_configured = self.configured.is_some(),
                    reason,
                    "a learned timeout starts from what the policy says"
                );
            }
        }
    }
}

/// Whose timeout is to be known, by its name in the policy.
#[derive(Clone, Copy)]
enum Asker<'a> {
    Route(&'a str),
    Dependency(&'a str),
}

struct Question<'a> {
    asker: Asker<'a>,
    timeout: &'a TimeoutPolicy,
    query: String,
}

/// What is to be asked: first for the routes, then for the dependencies.
fn questions(policy: &Policy) -> impl Iterator<Item = Question<'_>> {
    let asking = |timeout: &Option<String>| {
        let timeout = policy.timeouts.get(timeout.as_ref()?)?;
        let query = timeout.start_query.as_deref()?;
        timeout.timeout.is_learned().then_some((timeout, query))
    };
    let routes = policy.routes.iter().filter_map(move |(key, route)| {
        let (timeout, query) = asking(&route.timeout)?;
        let (method, template) = Route::split_name(key);
        let methods = method.map_or_else(|| methods(&route.methods), ToOwned::to_owned);
        Some(Question {
            asker: Asker::Route(key),
            timeout,
            query: written(query, &methods, "$route", template),
        })
    });
    let dependencies = policy.dependencies.iter().filter_map(move |(name, of)| {
        let (timeout, query) = asking(&of.timeout)?;
        Some(Question {
            asker: Asker::Dependency(name),
            timeout,
            query: written(query, &methods(&of.methods), "$dependency", name),
        })
    });
    routes.chain(dependencies)
}

/// Gives a pattern of methods: those that are listed, or any.
fn methods(listed: &[String]) -> String {
    match listed {
        [] => ".*".to_owned(),
        listed => listed.join("|"),
    }
}

/// Puts whoever asks into its query. Its name stands between quotes there.
fn written(query: &str, methods: &str, placeholder: &str, name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for char in name.chars() {
        if matches!(char, '\\' | '"' | '\'') {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    query
        .replace("$method", methods)
        .replace(placeholder, &escaped)
}

/// The whole chain, as one line of a log has it.
fn reason(error: &AskError) -> String {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    // Errors of clients are some deep; what is told has a bound all the same.
    for _ in 0..8 {
        let Some(cause) = source else { break };
        reason.push_str(": ");
        reason.extend(cause.to_string().chars().take(200));
        source = cause.source();
    }
    reason
}

/// All that was asked in this process.
#[derive(Default)]
struct Tally {
    measured: AtomicU64,
    failed: AtomicU64,
}

static TALLY: LazyLock<Arc<Tally>> = LazyLock::new(|| {
    let tally = Arc::default();
    // Without a place in the report the log still tells.
    let _ = report::register("start", &tally);
    tally
});

/// What it tells.
pub(crate) const METRICS: &[MetricDoc] = &[MetricDoc::counter(
    "steadfast_start_answers_total",
    &["outcome"],
    "Learned timeouts that were to start from what Prometheus knows: measured, or failed.",
)];

/// What it tells to the log.
pub(crate) const EVENTS: &[EventDoc] = &[
    EventDoc::new(
        "steadfast::start",
        &["info"],
        "a learned timeout starts from what was measured",
        &["answer_s", "dependency", "route", "start_s"],
    )
    .when("At the start, for each route or dependency whose query had an answer; `start_s` is the answer within the bounds.")
    .action("Nothing; when `start_s` and `answer_s` differ, look at the floor or the ceiling."),
    EventDoc::new(
        "steadfast::start",
        &["warn"],
        "a learned timeout starts from what the policy says",
        &["dependency", "is_configured", "reason", "route", "start_s"],
    )
    .when("At the start, for each route or dependency whose query had no usable answer.")
    .action("`reason` says why. It is served or called all the same; unless `is_configured`, it starts at its ceiling."),
];

impl Source for Tally {
    fn collect(&self, to: &mut Collector) {
        for (outcome, count) in [("measured", &self.measured), ("failed", &self.failed)] {
            let count = count.load(Ordering::Relaxed);
            to.labels([("outcome", outcome.into())])
                .counter("steadfast_start_answers_total", count);
        }
    }

    fn describe(&self) -> &'static [MetricDoc] {
        METRICS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_is_written_into_the_query_and_cannot_leave_its_quotes() {
        let query = "p{r=\"$route\",m=~\"$method\"}";

        assert_eq!(
            written(query, "GET|HEAD", "$route", "/a/{id}"),
            "p{r=\"/a/{id}\",m=~\"GET|HEAD\"}"
        );
        assert_eq!(
            written(query, "GET", "$route", "/a\"b\\$method"),
            "p{r=\"/a\\\"b\\\\$method\",m=~\"GET\"}"
        );
        assert_eq!(
            written(
                "p{d=\"$dependency\"}",
                &methods(&[]),
                "$dependency",
                "payments"
            ),
            "p{d=\"payments\"}"
        );
        assert_eq!(methods(&[]), ".*");
    }
}
