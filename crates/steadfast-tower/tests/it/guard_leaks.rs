//! Nothing is held once all is over, however requests end; and every rejection tells all it knows.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get as route;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use steadfast_core::report::{self, Value};
use steadfast_core::{clock, spawn};
use steadfast_tower::policy::Signed;
use steadfast_tower::{Guard, PolicyDocument};
use tower::ServiceExt;

use crate::support::json;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn policy(permits: u64, connections: u64, shadow: bool) -> PolicyDocument {
    let text = format!(
        r#"
[admissions.leaks]
permits = {permits}
queue = 5
queue_wait = "20ms"
guaranteed_core = "50 %"
shadow = {shadow}

[timeouts.leaks]
timeout = "50ms"
body_idle = "50ms"
body_total = "200ms"

[streams.leaks]
connections = {connections}
idle = "50ms"

[routes."/core/{{how}}"]
tier = "core"
timeout = "leaks"
admission = "leaks"

[routes."/page/{{how}}"]
timeout = "leaks"
admission = "leaks"

[routes."/live/{{how}}"]
kind = "stream"
stream = "leaks"
admission = "leaks"
"#
    );
    PolicyDocument::new("policy.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Ends in one of many ways, some of which take a while.
async fn handle(axum::extract::Path(how): axum::extract::Path<u64>) -> Response {
    let wait = millis(how / 8 % 100);
    match how % 8 {
        0 => panic!("leaks: at once"),
        1 => {
            clock::sleep(wait).await;
            panic!("leaks: later")
        }
        2 => std::future::pending().await,
        3 => {
            clock::sleep(wait).await;
            Response::default()
        }
        kind => {
            let frames = Frames::every(kind, wait);
            let mut response = Response::new(Body::new(frames));
            if kind == 7 {
                let events = http::HeaderValue::from_static("text/event-stream");
                response.headers_mut().insert("content-type", events);
            }
            response
        }
    }
}

/// A body of three frames, of which the last may be a panic, an error, or never come.
struct Frames {
    kind: u64,
    given: u32,
    next: clock::Alarm,
    every: Duration,
}

impl Frames {
    fn every(kind: u64, every: Duration) -> Self {
        Self {
            kind,
            given: 0,
            next: clock::Alarm::new(clock::now() + every),
            every,
        }
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        use std::task::Poll;
        std::task::ready!(self.next.poll_over(cx));
        let next = clock::now() + self.every;
        self.next.set(next);
        self.given += 1;
        match (self.given, self.kind) {
            (3, 4) => panic!("leaks: in a frame"),
            (3, 5) => Poll::Ready(Some(Err(std::io::Error::other("broken")))),
            (4.., _) => Poll::Ready(None),
            _ => Poll::Ready(Some(Ok(http_body::Frame::data("frame".into())))),
        }
    }
}

/// The next number of a sequence that looks like chance, and is the same each time.
fn shuffled(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

/// What is held by a gauge, of this policy.
fn held(metric: &str) -> f64 {
    let snapshot = report::snapshot();
    let found = snapshot.metrics().filter(|gauge| {
        let of_ours = |(name, value): &(_, steadfast_core::context::Name)| {
            *name == "policy" && value.as_str() == "leaks"
        };
        gauge.name == metric && gauge.labels.iter().any(of_ours)
    });
    let values = found.map(|gauge| match &gauge.value {
        Value::Gauge(held) => *held,
        other => panic!("{other:?}"),
    });
    values.sum()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_after_any_mix_of_ends_and_changes() {
    let guard = Guard::new(policy(4, 3, false)).unwrap();
    let routes = Router::new()
        .route("/core/{how}", route(handle))
        .route("/page/{how}", route(handle))
        .route("/live/{how}", route(handle));
    let app = guard.protect(routes).await.unwrap();
    let mut state = 7_u64;
    let mut statuses = BTreeMap::<u16, u32>::new();
    let mut clients = Vec::new();
    for n in 0..2_000_u32 {
        let bits = shuffled(&mut state);
        if n % 100 == 99 {
            let next = policy(
                2 + bits % 5,
                1 + bits / 8 % 4,
                (bits / 64).is_multiple_of(4),
            );
            guard
                .apply(next, Signed::new("ann", "chaos").unwrap())
                .unwrap();
        }
        let kind = ["core", "page", "live"][(bits % 3) as usize];
        let mut request = Request::get(format!("/{kind}/{}", bits >> 20));
        if (bits / 4).is_multiple_of(5) {
            request = request.header("x-steadfast-timeout-ms", bits / 32 % 60);
        }
        if (bits / 4).is_multiple_of(7) {
            request = request.header("content-type", "application/grpc");
        }
        let asked = app.clone().oneshot(request.body(Body::empty()).unwrap());
        // Some clients leave before the head, some in the middle of the body.
        let (patience, reads) = (millis(bits / 1_024 % 120), bits / 2_048 % 5);
        clients.push(spawn("client", async move {
            let response = clock::timeout(patience, asked).await.ok()?.unwrap();
            let status = response.status().as_u16();
            let mut body = response.into_body();
            for _ in 0..reads {
                if !matches!(body.frame().await, Some(Ok(_))) {
                    break;
                }
            }
            Some(status)
        }));
        clock::sleep(millis(bits / 7 % 8)).await;
    }
    for client in clients {
        match client.await.unwrap() {
            Some(status) => *statuses.entry(status).or_default() += 1,
            None => *statuses.entry(499).or_default() += 1,
        }
    }
    clock::sleep(2 * SECOND).await;

    for status in [200, 499, 500, 503, 504] {
        assert!(statuses.contains_key(&status), "{status} of {statuses:?}");
    }
    for metric in [
        "steadfast_admission_in_flight",
        "steadfast_admission_waiting",
        "steadfast_streams_open",
    ] {
        assert_eq!(held(metric), 0.0, "{metric} after {statuses:?}");
    }
    assert_eq!(guard.drain().in_flight(), 0);
    let after = Request::get("/page/3").body(Body::empty()).unwrap();
    assert_eq!(app.oneshot(after).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn every_rejection_of_a_server_says_all_that_the_client_may_know() {
    let text = r#"
[admissions.one]
permits = 1
queue = 1
queue_wait = "100ms"

[timeouts.told]
timeout = "1s"

[rates.told]
requests = 1
period = "1m"
burst = 1

[drain]
hard = "10s"
lower = "1s"
core = "1s"

[routes."/limited"]
timeout = "told"
quota = "told"

[routes."/slow"]
timeout = "told"

[routes."/busy"]
timeout = "told"
admission = "one"

[routes."/core"]
tier = "core"
timeout = "told"
admission = "one"
"#;
    let guard = Guard::new(PolicyDocument::new("policy.toml", text).unwrap()).unwrap();
    let work = async || clock::sleep(SECOND / 2).await;
    let routes = Router::new()
        .route("/limited", route(async || ()))
        .route("/slow", route(std::future::pending::<()>))
        .route("/busy", route(work))
        .route("/core", route(work));
    let app = guard.protect(routes).await.unwrap();
    let ask = |path: &str, deadline_ms: Option<u64>| {
        let mut request = Request::get(path);
        if let Some(deadline) = deadline_ms {
            request = request.header("x-steadfast-timeout-ms", deadline);
        }
        let asked = app.clone().oneshot(request.body(Body::empty()).unwrap());
        spawn("client", async move { asked.await.unwrap() })
    };
    let mut told = Vec::new();

    ask("/limited", None).await.unwrap();
    told.push(("rate-limited", ask("/limited", None).await.unwrap()));
    told.push(("timed-out", ask("/slow", None).await.unwrap()));
    told.push(("deadline-passed", ask("/slow", Some(0)).await.unwrap()));
    // Teaches how long it takes.
    ask("/busy", None).await.unwrap();
    let runs = ask("/busy", None);
    clock::sleep(MS).await;
    told.push(("cannot-finish", ask("/busy", Some(300)).await.unwrap()));
    let waits = ask("/busy", None);
    clock::sleep(MS).await;
    told.push(("overloaded", ask("/busy", None).await.unwrap()));
    let core = ask("/core", None);
    told.push(("displaced", waits.await.unwrap()));
    told.push(("waited-too-long", core.await.unwrap()));
    runs.await.unwrap();
    guard.drain().start();
    told.push(("draining", ask("/slow", None).await.unwrap()));

    for (reason, response) in told {
        let status = u64::from(response.status().as_u16());
        let headers = response.headers().clone();
        assert_eq!(headers["x-steadfast-rejected"], reason);
        let problem = json(response).await;
        assert_eq!(problem["type"], format!("urn:steadfast:problem:{reason}"));
        assert_eq!(problem["status"], status, "{reason}");
        for text in ["title", "policy", "unit", "trace_id"] {
            assert!(problem[text].is_string(), "{reason}: {text} in {problem}");
        }
        let (limit, observed) = (problem["limit"].as_f64(), problem["observed"].as_f64());
        assert!(
            observed.unwrap() >= 0.0 && limit.unwrap() >= 0.0,
            "{problem}"
        );
        let reached = match reason {
            // Here the limit is what must be exceeded.
            "rate-limited" | "cannot-finish" => observed > limit,
            _ => observed >= limit,
        };
        assert!(reached, "{reason}: {problem}");
        // Nobody knows when what has timed out will not.
        let comes_back = reason != "timed-out";
        assert_eq!(problem["retry_after"].is_number(), comes_back, "{problem}");
        assert_eq!(headers.contains_key("retry-after"), comes_back, "{reason}");
        assert_eq!(
            headers["x-request-id"],
            problem["trace_id"].as_str().unwrap()
        );
    }
}
