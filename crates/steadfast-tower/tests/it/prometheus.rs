//! Timeouts that start from what a Prometheus knows, or does not.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{Empty, Full};
use steadfast_core::report::{self, Value};
use steadfast_core::{BoxError, clock};
use steadfast_tower::prometheus::{ANSWER_BYTES_MAX, ASK_ALL_TIME, ASK_TIME, Prometheus, Starts};
use steadfast_tower::{Guard, PolicyDocument};
use tower::{Service, service_fn};

use crate::support::Lines;

const ADDRESS: &str = "http://127.0.0.1:9090";
const MS: Duration = Duration::from_millis(1);

type Ask = Request<Empty<Bytes>>;

fn policy(start: &str, routes: &[&str]) -> PolicyDocument {
    let mut text = format!(
        "[timeouts.page]\ntimeout = \"learn\"\ntimeout_floor = \"100ms\"\n\
         timeout_ceiling = \"2s\"\n{start}\n\
         timeout_start_query = 'p99{{r=\"$route\",m=~\"$method\"}}'\n"
    );
    for route in routes {
        text += &format!("[routes.{route:?}]\nmethods = [\"GET\", \"HEAD\"]\ntimeout = \"page\"\n");
    }
    PolicyDocument::new("policy.toml", text).unwrap()
}

fn number(value: &str) -> String {
    format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[1,"{value}"]}}]}}}}"#
    )
}

/// Asks for the one route `/a` of a policy.
async fn starts_of<S, Out>(start: &str, client: S) -> Starts
where
    S: Service<Ask, Response = Response<Out>>,
    S::Error: Into<BoxError>,
    Out: Body,
    Out::Error: Into<BoxError>,
{
    let policy = policy(start, &["/a"]);
    let mut prometheus = Prometheus::new(client, ADDRESS).unwrap();
    Starts::ask(policy.policy(), &mut prometheus).await
}

/// Gives what comes of an answer.
async fn started(start: &str, status: u16, answer: impl Into<String>) -> (Duration, String) {
    let answer: String = answer.into();
    let client = service_fn(move |_: Ask| {
        let mut response = Response::new(Full::<Bytes>::from(answer.clone()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        std::future::ready(Ok::<_, Infallible>(response))
    });
    outcome(&starts_of(start, client).await)
}

fn outcome(starts: &Starts) -> (Duration, String) {
    let start = starts.route("/a").unwrap();
    assert_eq!(start.is_measured(), start.failure().is_none());
    (start.timeout(), start.failure().unwrap_or("").to_owned())
}

#[tokio::test]
async fn a_timeout_starts_from_the_answer_within_its_bounds() {
    for (answer, expected) in [
        ("0.35", 350 * MS),
        ("3.5e-1", 350 * MS),
        ("0.0001", 100 * MS),
        ("17", 2_000 * MS),
        ("+Inf", 2_000 * MS),
        ("1e300", 2_000 * MS),
    ] {
        let (start, failure) = started("timeout_start = \"1s\"", 200, number(answer)).await;
        assert_eq!((start, failure.as_str()), (expected, ""), "{answer}");
    }
}

#[tokio::test]
async fn without_a_usable_answer_it_starts_from_what_the_policy_says_and_tells_why() {
    let two = r#"{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"]},{"value":[1,"2"]}]}}"#;
    let refused = r#"{"status":"error","errorType":"bad_data","error":"1:2: parse error"}"#;
    for (status, answer, why) in [
        (
            200,
            "<html>sign in</html>".to_owned(),
            "the answer is no JSON",
        ),
        (200, String::new(), "the answer is no JSON"),
        (200, "{}".into(), "the answer is not one of a Prometheus"),
        (200, number("NaN"), "there are no values yet"),
        (200, number("0"), "\"0\" is no length of time"),
        (200, number("-1"), "\"-1\" is no length of time"),
        (200, number("-Inf"), "\"-inf\" is no length of time"),
        (200, two.into(), "there are 2 values, where one is needed"),
        (
            400,
            refused.into(),
            "the query is refused: \"1:2: parse error\"",
        ),
        (400, "no".into(), "the status is 400 Bad Request"),
        (302, number("0.5"), "the status is 302 Found"),
        (503, number("0.5"), "the status is 503 Service Unavailable"),
        (
            200,
            "x".repeat(ANSWER_BYTES_MAX + 1),
            "the answer has more than 65536 bytes",
        ),
    ] {
        let told = started("timeout_start = \"1s\"", status, answer.clone()).await;
        assert_eq!(told, (1_000 * MS, why.to_owned()));
        // Without one it is the ceiling.
        assert_eq!(started("", status, answer).await.0, 2_000 * MS);
    }
}

#[tokio::test(start_paused = true)]
async fn a_prometheus_that_hangs_is_given_up_in_time() {
    let begun = clock::now();
    let never = service_fn(async |_: Ask| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
    });

    let told = outcome(&starts_of("", never).await);

    assert_eq!(told, (2_000 * MS, "no answer within 2s".to_owned()));
    assert_eq!(clock::now() - begun, ASK_TIME);
}

#[tokio::test(start_paused = true)]
async fn all_questions_together_take_a_bounded_time_and_the_same_one_is_asked_once() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let never = service_fn(move |request: Ask| {
        seen.lock().unwrap().push(request.uri().to_string());
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let names: Vec<_> = (0..20).map(|number| format!("/{number}/{{id}}")).collect();
    let mut routes: Vec<_> = names.iter().map(String::as_str).collect();
    routes.push("GET /0/{id}");
    let policy = policy("", &routes[..20]);
    let mut prometheus = Prometheus::new(never, ADDRESS).unwrap();
    let begun = clock::now();

    let starts = Starts::ask(policy.policy(), &mut prometheus).await;

    assert_eq!(clock::now() - begun, ASK_ALL_TIME);
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 5);
    assert_eq!(
        asked[0],
        "http://127.0.0.1:9090/api/v1/query?query=p99%7Br%3D%22%2F0%2F%7Bid%7D%22%2Cm%3D~%22GET%7CHEAD%22%7D"
    );
    let last = starts.route("/9/{id}").unwrap();
    assert_eq!(last.failure(), Some("no time is left for this question"));
}

/// A body that never ends.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 1_000])))))
    }
}

#[tokio::test]
async fn an_endless_answer_is_given_up_at_its_bound() {
    let client = service_fn(async |_: Ask| Ok::<_, Infallible>(Response::new(Endless)));

    let (_, why) = outcome(&starts_of("", client).await);

    assert_eq!(why, "the answer has more than 65536 bytes");
}

#[tokio::test]
async fn a_client_that_fails_or_panics_is_no_reason_not_to_start() {
    let fails = service_fn(async |_: Ask| {
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other("refused"))
    });
    let panics = service_fn(
        async |_: Ask| -> Result<Response<Full<Bytes>>, Infallible> {
            panic!("prometheus: in the client")
        },
    );

    assert_eq!(
        outcome(&starts_of("", fails).await).1,
        "nobody answers: refused"
    );
    assert_eq!(
        outcome(&starts_of("", panics).await).1,
        "the client panicked"
    );
}

#[tokio::test]
async fn what_was_asked_is_told_explained_and_in_force() {
    let lines = Lines::default();
    let listening = lines.listen();
    let policy = policy("timeout_start = \"1s\"", &["/known", "/unknown"]);
    let client = service_fn(async |request: Ask| {
        let answer = match request.uri().query().unwrap().contains("unknown") {
            true => r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.to_owned(),
            false => number("0.35"),
        };
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer)))
    });
    let mut prometheus = Prometheus::new(client, ADDRESS).unwrap();

    let starts = Starts::ask(policy.policy(), &mut prometheus).await;
    let guard = Guard::builder(policy.policy().clone());
    let guard = guard.starting_at(&starts).build().unwrap();
    drop(listening);

    let told = |route: &str| {
        let told = starts
            .explain(policy.explain_route(route).unwrap())
            .to_string();
        let line = told.lines().find(|line| line.contains("timeout_start "));
        line.unwrap().to_owned()
    };
    let known = told("/known");
    assert!(known.contains("\"350ms\""), "{known}");
    assert!(
        known.contains("measured: 0.35 s, as Prometheus knew at "),
        "{known}"
    );
    assert!(known.ends_with("(instead of \"1s\")"), "{known}");
    let unknown = told("/unknown");
    assert!(unknown.contains("\"1s\""), "{unknown}");
    assert!(
        unknown.contains("policy.toml:5:1; Prometheus, asked at "),
        "{unknown}"
    );
    assert!(unknown.ends_with(": there are no values yet"), "{unknown}");

    let lines = lines.text();
    for line in [
        "a learned timeout starts from what was measured",
        "a learned timeout starts from what the policy says",
    ] {
        assert!(lines.contains(line), "{lines}");
    }
    let snapshot = report::snapshot();
    let start = |route: &str| {
        let label = ("policy", route.to_owned().into());
        let found = snapshot.metrics().find(|metric| {
            metric.name == "steadfast_timeout_seconds" && metric.labels.contains(&label)
        });
        found.unwrap().value.clone()
    };
    assert_eq!(start("/known"), Value::Gauge(0.35));
    assert_eq!(start("/unknown"), Value::Gauge(1.0));
    assert_eq!(snapshot.undescribed(), <Vec<String>>::new());
    drop(guard);
}

#[test]
fn what_a_start_says_must_make_sense() {
    for (start, why) in [
        (
            "timeout_start = \"50ms\"",
            "it starts outside of its bounds",
        ),
        ("timeout_start = \"3s\"", "it starts outside of its bounds"),
    ] {
        let text = format!(
            "[timeouts.a]\ntimeout = \"learn\"\ntimeout_floor = \"100ms\"\ntimeout_ceiling = \"2s\"\n{start}\n"
        );
        let refused = PolicyDocument::new("policy.toml", text)
            .unwrap_err()
            .to_string();
        assert!(refused.contains(why), "{refused}");
    }
    for key in ["timeout_start = \"1s\"", "timeout_start_query = \"x\""] {
        let text = format!("[timeouts.a]\ntimeout = \"1s\"\n{key}\n");
        let refused = PolicyDocument::new("policy.toml", text)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("a fixed timeout starts from nothing else"),
            "{refused}"
        );
    }
}

#[test]
fn what_is_not_asked_is_told_or_refused_and_the_start_of_the_policy_holds() {
    let lines = Lines::default();
    let listening = lines.listen();
    let asks = policy("timeout_start = \"750ms\"", &["/not-asked"]);

    let guard = Guard::new(asks.policy().clone()).unwrap();
    drop(listening);

    let warning = "the policy has a timeout_start_query, and nobody was asked";
    assert!(lines.text().contains(warning), "{}", lines.text());
    let snapshot = report::snapshot();
    let label = ("policy", "/not-asked".to_owned().into());
    let started = snapshot.metrics().find(|metric| {
        metric.name == "steadfast_timeout_seconds" && metric.labels.contains(&label)
    });
    assert_eq!(started.unwrap().value, Value::Gauge(0.75));
    drop(guard);

    let calls = "[dependencies.payments]\nmethods = [\"GET\"]\ntimeout = \"page\"\n";
    let calls = PolicyDocument::new("policy.toml", asks.text().to_owned() + calls).unwrap();
    let refused = Guard::new(calls.policy().clone()).unwrap_err().to_string();
    assert!(
        refused
            .contains("dependencies.payments: the timeout_start_query of timeouts.page has $route"),
        "{refused}"
    );
    let calls = asks.text().replace("$route", "$dependency");
    let calls = PolicyDocument::new("policy.toml", calls).unwrap();
    let refused = Guard::new(calls.policy().clone()).unwrap_err().to_string();
    assert!(
        refused.contains(
            "has $dependency, which this has not; give it a timeout of its own, with $route"
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn a_dependency_asks_by_its_name_and_starts_from_the_answer() {
    let text = r#"
[timeouts.call]
timeout = "learn"
timeout_floor = "100ms"
timeout_ceiling = "2s"
timeout_start = "1s"
timeout_start_query = 'p99{d="$dependency",m=~"$method"}'

[dependencies.asks-known]
methods = ["GET", "PUT"]
timeout = "call"

[dependencies.asks-unknown]
methods = ["GET"]
timeout = "call"
"#;
    let policy = PolicyDocument::new("policy.toml", text).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let client = service_fn(move |request: Ask| {
        let query = request.uri().query().unwrap().to_owned();
        let answer = match query.contains("unknown") {
            true => number("NaN"),
            false => number("0.35"),
        };
        seen.lock().unwrap().push(query);
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(
            answer,
        ))))
    });
    let mut prometheus = Prometheus::new(client, ADDRESS).unwrap();

    let starts = Starts::ask(policy.policy(), &mut prometheus).await;
    let guard = Guard::builder(policy.policy().clone());
    let guard = guard.starting_at(&starts).build().unwrap();

    assert_eq!(
        asked.lock().unwrap()[0],
        "query=p99%7Bd%3D%22asks-known%22%2Cm%3D~%22GET%7CPUT%22%7D"
    );
    let timeouts = guard.dependencies().into_iter().map(|of| of.timeout);
    let timeouts: Vec<_> = timeouts.collect();
    assert_eq!(timeouts, [Some(350 * MS), Some(1_000 * MS)]);
    assert_eq!(starts.dependency("asks-known").unwrap().failure(), None);
    let failure = starts.dependency("asks-unknown").unwrap().failure();
    assert_eq!(failure, Some("there are no values yet"));
    assert!(starts.route("asks-known").is_none());
    let told = starts.explain(policy.explain_dependency("asks-known").unwrap());
    let told = told.to_string();
    assert!(
        told.contains("measured: 0.35 s, as Prometheus knew at "),
        "{told}"
    );
}
