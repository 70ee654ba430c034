//! What stands in every line, whoever writes it: a formatter that makes JSON of it.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::routing::get;
use axum::{Router, extract::State};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use serde_json::Value;
use steadfast::tower::guard::ClientBody;
use steadfast::tower::{Guard, PolicyDocument};
use steadfast::{clock, context};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tracing::subscriber::DefaultGuard;

const MS: Duration = Duration::from_millis(1);

const POLICY: &str = r#"
[timeouts.order]
timeout = "3s"

[timeouts.call]
timeout = "500ms"

[retries.once]
attempts = 2
budget = "50 %"

[dependencies.payments]
methods = ["GET"]
timeout = "call"
retry = "once"

[routes."/orders/{id}"]
methods = ["GET"]
tier = "core"
timeout = "order"
calls = ["payments"]

[routes."/slow/{id}"]
methods = ["GET"]
timeout = "order"

[routes."/breaks/{id}"]
methods = ["GET"]
timeout = "order"
"#;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn listen(&self) -> (DefaultGuard, tracing::Dispatch) {
        let lines = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(context::lines(move || lines.clone()))
            .finish();
        // While there is only one, a line that another test's thread writes first would be disabled
        // for all.
        let second = tracing::Dispatch::new(tracing_subscriber::registry());
        (tracing::subscriber::set_default(subscriber), second)
    }

    /// Gives the only line with this message.
    #[track_caller]
    fn line(&self, message: &str) -> Value {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut found = lines.filter(|line| line["fields"]["message"] == message);
        let line = found
            .next()
            .unwrap_or_else(|| panic!("{message:?} is not in\n{text}"));
        assert!(
            found.next().is_none(),
            "{message:?} is there twice:\n{text}"
        );
        line
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

/// Checks what must stand in each line; gives the trace id and the span id.
#[track_caller]
fn check(line: &Value, route: &str, tier: u64) -> (String, String) {
    assert_eq!(line["route"], route, "{line}");
    assert_eq!(line["tier"], tier, "{line}");
    assert_eq!(line["order"], "4711", "{line}");
    let id = |name: &str, digits: usize| {
        let id = line[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name}: {line}"));
        assert_eq!(id.len(), digits, "{line}");
        id.to_owned()
    };
    (id("trace_id", 32), id("span_id", 16))
}

fn ask(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// Takes an order: in the request, in a child of it, and by a call that is tried again.
async fn order(State(guard): State<Guard>) -> StatusCode {
    context::put("order", "4711").unwrap();
    tracing::info!("taking the order");
    let child = steadfast::spawn("stock", async { tracing::info!("looking for stock") });
    child.await.unwrap();
    let failed_before = Arc::new(Mutex::new(false));
    let gateway = service_fn(move |_: Request<ClientBody<Body>>| {
        tracing::info!("asking the gateway");
        let failed_before = std::mem::replace(&mut *failed_before.lock().unwrap(), true);
        let mut response = Response::new(Body::empty());
        if !failed_before {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        std::future::ready(Ok::<_, io::Error>(response))
    });
    let payments = ServiceBuilder::new()
        .layer(guard.client("payments").unwrap())
        .service(gateway);
    let paid = payments.oneshot(ask("http://pay.example/holds/7")).await;
    paid.unwrap().status()
}

async fn app() -> Router {
    let document = PolicyDocument::new("policy.toml", POLICY).unwrap();
    let guard = Guard::new(document.policy().clone()).unwrap();
    let slow = async || {
        context::put("order", "4711").unwrap();
        tracing::info!("working");
        clock::sleep(1_000 * MS).await;
    };
    let breaks = async || {
        context::put("order", "4711").unwrap();
        Body::new(Breaks(false))
    };
    let app = Router::new()
        .route("/orders/{id}", get(order))
        .route("/slow/{id}", get(slow))
        .route("/breaks/{id}", get(breaks))
        .with_state(guard.clone());
    guard.protect(app).await.unwrap()
}

/// A body that breaks off after its first frame.
struct Breaks(bool);

impl http_body::Body for Breaks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(match std::mem::replace(&mut self.0, true) {
            false => Ok(Frame::data(Bytes::from_static(b"half"))),
            true => Err(io::Error::other("the disk is gone")),
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn every_line_of_a_request_its_children_and_its_calls_has_its_ids_and_keys() {
    let lines = Lines::default();
    let app = app().await;
    let listening = lines.listen();

    let response = app.oneshot(ask("/orders/7")).await.unwrap();
    let id = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(response.status(), 200);
    axum::body::to_bytes(response.into_body(), 1_000)
        .await
        .unwrap();
    drop(listening);

    let (trace, span) = check(&lines.line("taking the order"), "/orders/{id}", 0);
    assert_eq!(trace, id);
    for message in ["looking for stock", "trying again", "request ended"] {
        let (of_line, _) = check(&lines.line(message), "/orders/{id}", 0);
        assert_eq!(of_line, trace, "{message}");
    }
    let (_, of_access) = check(&lines.line("request ended"), "/orders/{id}", 0);
    assert_eq!(of_access, span);
    let retried = lines.line("trying again");
    assert_eq!(retried["fields"]["attempt"], 2);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let asked = text
        .lines()
        .filter(|line| line.contains("asking the gateway"));
    let asked: Vec<Value> = asked
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(asked.len(), 2, "{text}");
    for attempt in &asked {
        assert_eq!(check(attempt, "/orders/{id}", 0).0, trace);
    }
}

#[tokio::test(start_paused = true)]
async fn the_access_line_has_them_when_the_client_gives_up() {
    let lines = Lines::default();
    let app = app().await;
    let listening = lines.listen();

    tokio::select! {
        biased;
        answered = app.oneshot(ask("/slow/7")) => panic!("{answered:?}"),
        () = clock::sleep(10 * MS) => {}
    }
    drop(listening);

    let access = lines.line("request ended");
    assert_eq!(access["fields"]["status"], 499);
    assert_eq!(access["fields"]["ended"], "client_gone");
    let worked = check(&lines.line("working"), "/slow/{id}", 1);
    assert_eq!(check(&access, "/slow/{id}", 1), worked);
}

#[tokio::test(start_paused = true)]
async fn the_access_line_has_them_when_the_body_breaks() {
    let lines = Lines::default();
    let app = app().await;
    let listening = lines.listen();

    let response = app.oneshot(ask("/breaks/7")).await.unwrap();
    let id = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let broken = axum::body::to_bytes(response.into_body(), 1_000).await;
    assert!(broken.is_err());
    drop(listening);

    let access = lines.line("request ended");
    assert_eq!(access["fields"]["status"], 200);
    assert_eq!(access["fields"]["ended"], "body_broke");
    assert_eq!(check(&access, "/breaks/{id}", 1).0, id);
}
