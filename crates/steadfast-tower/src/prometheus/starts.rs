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

/// What the learned timeouts of routes start from.
#[derive(Debug, Clone, Default)]
pub struct Starts {
    by_route: BTreeMap<String, Start>,
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
    /// Asks for all routes with a `timeout_start_query`, one after the other, and each question
    /// once.
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
        for (key, route, timeout, query) in questions(policy) {
            let query = written(query, key, route);
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
            start.tell(key);
            starts.by_route.insert(key.to_owned(), start);
        }
        starts
    }

    /// Gives what the timeout of a route starts from, by the name that the policy has for the
    /// route; `None` where nobody was asked.
    pub fn route(&self, key: &str) -> Option<&Start> {
        self.by_route.get(key)
    }

    /// Puts what was found out into the explanation of a route.
    pub fn explain(&self, mut explanation: Explanation) -> Explanation {
        let is_subject = |key: &&String| {
            FieldPath::new(["routes", key.as_str()]).to_string() == explanation.subject
        };
        let Some(start) = self.by_route.keys().find(is_subject) else {
            return explanation;
        };
        let start = &self.by_route[start];
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

    fn tell(&self, route: &str) {
        let start_s = self.timeout.as_secs_f64();
        match &self.answer {
            Ok(answer_s) => {
                TALLY.measured.fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    target: "steadfast::start",
                    route,
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
                    start_s,
                    is_configured = self.configured.is_some(),
                    reason,
                    "a learned timeout starts from what the policy says"
                );
            }
        }
    }
}

/// The routes that ask, with what they ask.
fn questions(policy: &Policy) -> impl Iterator<Item = (&str, &Route, &TimeoutPolicy, &str)> {
    policy.routes.iter().filter_map(|(key, route)| {
        let timeout = policy.timeouts.get(route.timeout.as_ref()?)?;
        let query = timeout.start_query.as_deref()?;
        timeout
            .timeout
            .is_learned()
            .then_some((key.as_str(), route, timeout, query))
    })
}

/// Puts the route into its query. Its template stands between quotes there.
fn written(query: &str, key: &str, route: &Route) -> String {
    let (method, template) = Route::split_name(key);
    let mut escaped = String::with_capacity(template.len());
    for char in template.chars() {
        if matches!(char, '\\' | '"' | '\'') {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    let methods = method.map_or_else(|| route.methods.join("|"), ToOwned::to_owned);
    query
        .replace("$method", &methods)
        .replace("$route", &escaped)
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
        &["answer_s", "route", "start_s"],
    )
    .when("At the start, for each route whose query had an answer; `start_s` is the answer within the bounds.")
    .action("Nothing; when `start_s` and `answer_s` differ, look at the floor or the ceiling."),
    EventDoc::new(
        "steadfast::start",
        &["warn"],
        "a learned timeout starts from what the policy says",
        &["is_configured", "reason", "route", "start_s"],
    )
    .when("At the start, for each route whose query had no usable answer.")
    .action("`reason` says why. The route is served; unless `is_configured`, it starts at its ceiling."),
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
    fn a_route_is_written_into_its_query_and_cannot_leave_its_quotes() {
        let route = Route::new(["GET", "HEAD"]);
        let query = "p{r=\"$route\",m=~\"$method\"}";

        assert_eq!(
            written(query, "/a/{id}", &route),
            "p{r=\"/a/{id}\",m=~\"GET|HEAD\"}"
        );
        assert_eq!(
            written(query, "GET /a\"b\\$method", &route),
            "p{r=\"/a\\\"b\\\\$method\",m=~\"GET\"}"
        );
    }
}
