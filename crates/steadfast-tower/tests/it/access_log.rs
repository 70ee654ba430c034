use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{self, Poll};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use steadfast_core::context::{self, Tier};
use steadfast_core::decide::policy::Timeout;
use steadfast_core::report::{self, Value};
use steadfast_core::{Cause, Outcome, cancel, clock, scope};
use steadfast_tower::{
    AccessLogLayer, DeadlineLayer, RecoverLayer, RouteLayer, TierLayer, TraceIdLayer, Trust,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{
    Lines, Panics, Shop, get, keeps_the_contract, poll_once, serve, several_subscribers,
};

const SECOND: Duration = Duration::from_secs(1);

/// What the one line about a request says.
struct Line(String);

impl Line {
    #[track_caller]
    fn only(lines: &Lines) -> Self {
        let all = lines.with("steadfast::access");
        assert_eq!(all.len(), 1, "{}", lines.text());
        // In front of it stands the span, which has some of the fields, too.
        Self(all[0].split_once("request ended").unwrap().1.to_owned())
    }

    fn field(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.0.split_once(&format!(" {name}="))?;
        Some(rest.split(' ').next().unwrap().trim_matches('"'))
    }

    #[track_caller]
    fn expect(&self, fields: &[(&str, &str)]) {
        for (name, value) in fields {
            assert_eq!(
                self.field(name).unwrap_or(""),
                *value,
                "{name} of {}",
                self.0
            );
        }
    }
}

/// A body made of a list: of bytes, an error, a panic, trailers, or a wait for ever.
#[derive(Clone, Default)]
struct Script {
    steps: Vec<Step>,
    hint: SizeHint,
}

#[derive(Clone)]
enum Step {
    Data(&'static str),
    Error,
    Panic(&'static str),
    Trailers,
    Wait,
}

impl Script {
    fn of(steps: impl Into<Vec<Step>>) -> Self {
        let mut steps = steps.into();
        steps.reverse();
        Self {
            steps,
            ..Self::default()
        }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match self.steps.pop() {
            None => None,
            Some(Step::Data(text)) => Some(Ok(Frame::data(text.into()))),
            Some(Step::Error) => Some(Err(io::Error::other("broken"))),
            Some(Step::Panic(message)) => panic!("{message}"),
            Some(Step::Trailers) => Some(Ok(Frame::trailers(HeaderMap::new()))),
            Some(Step::Wait) => {
                self.steps.push(Step::Wait);
                return Poll::Pending;
            }
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

/// Answers with this body.
fn answering(
    script: Script,
) -> impl Service<Request<Full<Bytes>>, Response = Response<Script>, Error = Infallible, Future: Send>
+ Clone {
    service_fn(move |_: Request<Full<Bytes>>| {
        let script = script.clone();
        async move { Ok(Response::new(script)) }
    })
}

/// Gives the values of a metric for a route, with the other labels that are not empty.
fn told(name: &str, route: &str) -> Vec<(String, Value)> {
    let snapshot = report::snapshot();
    let of_route = snapshot.metrics().filter(|metric| {
        let route = ("http_route", route.to_owned().into());
        metric.name == name && metric.labels.contains(&route)
    });
    let mut told: Vec<_> = of_route
        .map(|metric| {
            let labels = metric.labels.iter().map(|(_, value)| value.as_str());
            let labels: Vec<_> = labels.filter(|value| !value.is_empty()).collect();
            (labels[1..].join(" "), metric.value.clone())
        })
        .collect();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    told
}

/// Gives how many values a histogram has, and their sum.
fn histogram(name: &str, route: &str) -> Vec<(String, u64, f64)> {
    let told = told(name, route).into_iter();
    told.map(|(labels, value)| match value {
        Value::Histogram(buckets) => (labels, buckets.count(), buckets.sum()),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn counts(route: &str) -> Vec<(String, u64)> {
    let durations = histogram("http_server_request_duration_seconds", route);
    let counts = durations.into_iter();
    counts.map(|(labels, count, _)| (labels, count)).collect()
}

fn active(route: &str) -> f64 {
    let active = told("http_server_active_requests", route);
    let active = active.iter().map(|(_, value)| match value {
        Value::Gauge(active) => *active,
        other => panic!("{other:?}"),
    });
    active.sum()
}

fn named(route: &'static str) -> RouteLayer {
    RouteLayer::new(move |_| Some(route.into()))
}

#[tokio::test(start_paused = true)]
async fn a_served_request_has_one_line_with_all_that_is_known_of_it() {
    let lines = Lines::default();
    let listening = lines.listen();
    let service = ServiceBuilder::new()
        .layer(TraceIdLayer::new(Trust::Edge))
        .layer(AccessLogLayer::new())
        // Inside of it: what is found out there is in the line, too.
        .layer(named("/served/{id}"))
        .layer(TierLayer::new(Trust::Edge, |_| Some(Tier::CORE)))
        .service(service_fn(async |_: Request<Full<Bytes>>| {
            clock::sleep(SECOND).await;
            Ok::<_, Infallible>(Response::new(Script::of([
                Step::Data("one"),
                Step::Data("three"),
            ])))
        }));

    let response = service.oneshot(get("/served/4711?token=secret")).await;
    let response = response.unwrap();
    let id = response.headers()["x-request-id"].clone();
    let mut body = response.into_body();
    clock::sleep(2 * SECOND).await;
    while body.frame().await.is_some() {}
    drop(body);
    drop(listening);

    Line::only(&lines).expect(&[
        ("method", "GET"),
        ("path", "/served/4711"),
        ("route", "/served/{id}"),
        ("status", "200"),
        ("head_s", "1.0"),
        ("duration_s", "3.0"),
        ("body_bytes", "8"),
        ("tier", "0"),
        ("trace_id", id.to_str().unwrap()),
        ("ended", "served"),
    ]);
    assert!(!lines.text().contains("secret"), "{}", lines.text());
    assert_eq!(counts("/served/{id}"), [("GET 200".into(), 1)]);
    let seconds = histogram("http_server_request_duration_seconds", "/served/{id}");
    assert_eq!(seconds, [("GET 200".into(), 1, 3.0)]);
    let bytes = histogram("http_server_response_body_size_bytes", "/served/{id}");
    assert_eq!(bytes, [("GET 200".into(), 1, 8.0)]);
}

#[tokio::test]
async fn a_request_whose_client_leaves_is_told_and_knows_why() {
    let lines = Lines::default();
    let listening = lines.listen();
    let (tell, mut causes) = mpsc::unbounded_channel();
    let service = ServiceBuilder::new()
        .layer(named("/gone"))
        .layer(AccessLogLayer::new())
        .service(service_fn(move |_: Request<Full<Bytes>>| {
            let tell = tell.clone();
            scope("order").run(async move |s| {
                s.defer_outcome("tell", move |outcome| {
                    if let Outcome::Cancelled(cause) = outcome {
                        tell.send(cause.as_str()).unwrap();
                    }
                });
                std::future::pending::<Result<Response<Script>, _>>().await
            })
        }));

    let mut request = Box::pin(service.oneshot(get("/gone")));
    assert!(poll_once(request.as_mut()).await.is_none());
    assert_eq!(active("/gone"), 1.0);
    drop(request);
    drop(listening);

    Line::only(&lines).expect(&[("status", "499"), ("head_s", ""), ("ended", "client_gone")]);
    assert_eq!(causes.recv().await, Some("client_gone"));
    let gone = ("GET 499 client_gone".into(), 1);
    assert_eq!(counts("/gone"), [gone]);
    assert_eq!(active("/gone"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn whoever_drops_a_request_for_another_reason_is_believed() {
    for cause in ["timeout", "shutdown"] {
        let lines = Lines::default();
        let listening = lines.listen();
        let service = AccessLogLayer::new().layer(Shop::default());
        let mut request = Box::pin(service.oneshot(get("/wait")));

        if cause == "timeout" {
            let _ = clock::timeout(SECOND, request).await;
        } else {
            assert!(poll_once(request.as_mut()).await.is_none());
            cancel::dropping(Cause::Shutdown, || drop(request));
        }
        drop(listening);

        Line::only(&lines).expect(&[("status", ""), ("ended", cause)]);
    }
}

/// Gives the line about a response of which so many frames are taken.
async fn taken(script: Script, frames: usize) -> Line {
    let lines = Lines::default();
    let listening = lines.listen();
    let service = AccessLogLayer::new().layer(answering(script));

    let mut body = service.oneshot(get("/")).await.unwrap().into_body();
    for _ in 0..frames {
        let _ = poll_once(std::pin::pin!(body.frame())).await;
    }
    drop(body);
    drop(listening);

    Line::only(&lines)
}

#[tokio::test]
async fn what_becomes_of_the_body_is_told() {
    use Step::{Data, Error, Trailers, Wait};

    let exact = Script {
        hint: SizeHint::with_exact(3),
        ..Script::of([Data("abc")])
    };
    for (script, frames, ended, bytes) in [
        (Script::of([]), 1, "served", "0"),
        (Script::of([Data("abc")]), 2, "served", "3"),
        (Script::of([Data("abc")]), 1, "client_gone", "3"),
        (Script::of([Data("abc")]), 0, "client_gone", "0"),
        (Script::of([Data("abc"), Wait]), 2, "client_gone", "3"),
        (Script::of([Data("abc"), Error]), 2, "body_broke", "3"),
        (Script::of([Data("abc"), Trailers]), 2, "served", "3"),
        // Nobody asks for the end of what is all there.
        (exact.clone(), 1, "served", "3"),
        (exact, 0, "client_gone", "0"),
    ] {
        let line = taken(script, frames).await;

        line.expect(&[("status", "200"), ("ended", ended), ("body_bytes", bytes)]);
    }
}

#[tokio::test]
async fn an_answer_whose_body_nobody_asks_for_is_served() {
    for (method, status) in [
        (Method::HEAD, 200),
        (Method::CONNECT, 200),
        (Method::GET, 204),
        (Method::GET, 304),
        (Method::GET, 101),
    ] {
        let lines = Lines::default();
        let listening = lines.listen();
        let service = service_fn(move |_: Request<Full<Bytes>>| async move {
            let mut response = Response::new(Script::of([Step::Wait]));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok::<_, Infallible>(response)
        });
        let mut request = get("/");
        *request.method_mut() = method.clone();

        drop(
            AccessLogLayer::new()
                .layer(service)
                .oneshot(request)
                .await
                .unwrap(),
        );
        drop(listening);

        let ended = [("method", method.as_str()), ("ended", "served")];
        Line::only(&lines).expect(&ended);
    }
}

#[tokio::test]
async fn a_panic_is_told_on_either_side_of_the_layer_that_catches_it() {
    let panics = Panics::of("tower-access:");
    let handler = service_fn(async |request: Request<Full<Bytes>>| {
        assert_ne!(request.uri().path(), "/handler", "tower-access:");
        let steps = [Step::Data("abc"), Step::Panic("tower-access: frame")];
        Ok::<_, Infallible>(Response::new(Script::of(steps)))
    });
    for (path, outside, status, ended) in [
        ("/handler", true, "500", "panicked"),
        ("/handler", false, "500", "served"),
        ("/frame", true, "200", "panicked"),
        ("/frame", false, "200", "body_broke"),
    ] {
        let lines = Lines::default();
        let listening = lines.listen();

        if outside {
            let layers = (RecoverLayer::new(), AccessLogLayer::new());
            let service = ServiceBuilder::new().layer(layers).service(handler);
            read(service.oneshot(get(path)).await.unwrap()).await;
        } else {
            let layers = (AccessLogLayer::new(), RecoverLayer::new());
            let service = ServiceBuilder::new().layer(layers).service(handler);
            read(service.oneshot(get(path)).await.unwrap()).await;
        }
        drop(listening);

        Line::only(&lines).expect(&[("status", status), ("ended", ended)]);
    }
    let frames = panics.heard();
    assert_eq!(frames.len(), 2, "{frames:?}");
}

async fn read<B: Body>(response: Response<B>) {
    let mut body = std::pin::pin!(response.into_body());
    while let Some(Ok(_)) = body.as_mut().frame().await {}
}

#[tokio::test]
async fn a_panic_of_the_call_itself_is_told() {
    #[derive(Clone)]
    struct Panicking;
    impl Service<Request<Full<Bytes>>> for Panicking {
        type Response = Response<Script>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
            panic!("tower-access-call")
        }
    }
    let lines = Lines::default();
    let listening = lines.listen();
    let layers = (RecoverLayer::new(), AccessLogLayer::new());
    let service = ServiceBuilder::new().layer(layers).service(Panicking);

    let response = service.oneshot(get("/")).await.unwrap();
    drop(listening);

    assert_eq!(response.status(), 500);
    Line::only(&lines).expect(&[("status", "500"), ("ended", "panicked")]);
}

#[tokio::test]
async fn an_answer_whose_body_panics_before_its_head_is_sent_is_no_success() {
    struct Unknowable;
    impl Body for Unknowable {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut task::Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(None)
        }

        fn size_hint(&self) -> SizeHint {
            panic!("tower-access-hint")
        }
    }
    let lines = Lines::default();
    let listening = lines.listen();
    let layers = (RecoverLayer::new(), AccessLogLayer::new());
    let service =
        ServiceBuilder::new()
            .layer(layers)
            .service(service_fn(async |_: Request<Full<Bytes>>| {
                Ok::<_, Infallible>(Response::new(Unknowable))
            }));

    let response = service.oneshot(get("/")).await.unwrap();
    drop(listening);

    assert_eq!(response.status(), 500);
    Line::only(&lines).expect(&[("status", "500"), ("ended", "panicked")]);
}

#[tokio::test]
async fn what_has_panicked_is_not_told_that_the_client_left() {
    struct Hears(Arc<Mutex<Vec<Option<Cause>>>>);
    impl Drop for Hears {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(cancel::told_cause());
        }
    }
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = heard.clone();
    let layers = (RecoverLayer::new(), AccessLogLayer::new());
    let service = service_fn(move |_: Request<Full<Bytes>>| {
        let hears = Hears(hear.clone());
        let script = Script::of([Step::Panic("tower-access-hears")]);
        let body = script.map_frame(move |frame| {
            let _held = &hears;
            frame
        });
        async { Ok::<_, Infallible>(Response::new(body)) }
    });

    let response = ServiceBuilder::new().layer(layers).service(service);
    read(response.oneshot(get("/")).await.unwrap()).await;

    assert!(matches!(heard.lock().unwrap()[..], [None]));
}

/// Tells, as a writer of lines does, which keys there are when a line is written.
struct Keys(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Keys {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() == "steadfast::access" {
            let order = context::get("order").unwrap_or_default();
            self.0.lock().unwrap().push(order.to_string());
        }
    }
}

#[tokio::test]
async fn the_line_is_written_in_the_context_that_the_handler_has_left() {
    let timeout = Timeout::new(SECOND).unwrap();
    for (path, order) in [
        ("/served", "2"),
        ("/fail", "1"),
        ("/taken", "1"),
        ("/wait", "1"),
    ] {
        let orders = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Keys(orders.clone()));
        several_subscribers();
        let listening = tracing::subscriber::set_default(subscriber);
        let shop = Shop::default();
        let service = ServiceBuilder::new()
            .layer(AccessLogLayer::new())
            .layer(named("/left"))
            .layer(DeadlineLayer::edge(timeout))
            .layer(TierLayer::new(Trust::Edge, |_| Some(Tier::CORE)))
            .service(service_fn(move |request: Request<Full<Bytes>>| {
                let shop = shop.clone();
                async move {
                    context::put("order", "1").unwrap();
                    let response = shop.oneshot(request).await?;
                    let put = |frame| {
                        context::put("order", "2").unwrap();
                        frame
                    };
                    Ok::<_, io::Error>(response.map(|body| body.map_frame(put)))
                }
            }));

        let mut request = Box::pin(service.oneshot(get(path)));
        match poll_once(request.as_mut()).await {
            Some(Ok(response)) if path == "/served" => read(response).await,
            _ => drop(request),
        }
        drop(listening);

        assert_eq!(*orders.lock().unwrap(), [order], "{path}");
        assert_eq!(context::get("order"), None, "nothing is left behind");
    }
}

#[tokio::test]
async fn an_error_in_place_of_an_answer_keeps_its_type_and_is_told() {
    let lines = Lines::default();
    let listening = lines.listen();
    let layers = (named("/failed"), AccessLogLayer::new());
    let service = ServiceBuilder::new().layer(layers).service(Shop::default());

    let Err(error) = service.oneshot(get("/fail")).await else {
        panic!("it fails")
    };
    drop(listening);

    let error: io::Error = error;
    assert_eq!(error.to_string(), "broken");
    Line::only(&lines).expect(&[("status", ""), ("ended", "failed")]);
    let failed = ("GET failed".into(), 1);
    assert_eq!(counts("/failed"), [failed]);
}

#[tokio::test]
async fn what_clients_make_up_stays_bounded() {
    let lines = Lines::default();
    let listening = lines.listen();
    let path = format!("/{}?x=y", "é".repeat(1_000));
    let mut request = get("/");
    *request.uri_mut() = path.parse().unwrap();
    *request.method_mut() = Method::from_bytes(b"BREW").unwrap();

    let service = AccessLogLayer::new().layer(Shop::default());
    read(service.oneshot(request).await.unwrap()).await;
    drop(listening);

    let line = Line::only(&lines);
    line.expect(&[("method", "_OTHER"), ("route", "unmatched")]);
    let path = line.field("path").unwrap();
    assert!((1_000..=1_024).contains(&path.len()), "{}", path.len());
}

#[tokio::test]
async fn without_a_subscriber_it_is_counted_all_the_same() {
    let layers = (named("/silent"), AccessLogLayer::new());
    let service = ServiceBuilder::new().layer(layers).service(Shop::default());

    read(service.oneshot(get("/")).await.unwrap()).await;

    assert_eq!(counts("/silent"), [("GET 200".into(), 1)]);
    assert_eq!(active("/silent"), 0.0);
}

#[tokio::test]
async fn it_keeps_the_contract_of_tower() {
    keeps_the_contract(AccessLogLayer::new()).await;
}

/// Tells when it is dropped.
struct Tells(mpsc::UnboundedSender<()>);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn over_a_socket_a_client_that_leaves_is_told_before_and_after_the_head() {
    let (tell, mut dropped) = mpsc::unbounded_channel();
    let waits = tell.clone();
    let started = Arc::new(tokio::sync::Notify::new());
    let start = started.clone();
    let app = Router::new()
        .route(
            "/wait",
            axum::routing::get(async move || {
                let _tells = Tells(waits);
                start.notify_one();
                std::future::pending::<&str>().await
            }),
        )
        .route(
            "/stream",
            axum::routing::get(async move || {
                let script = Script::of([Step::Data("abc"), Step::Wait]);
                let tells = Tells(tell);
                axum::body::Body::new(script.map_frame(move |frame| {
                    let _held = &tells;
                    frame
                }))
            }),
        )
        .layer((TraceIdLayer::new(Trust::Edge), AccessLogLayer::new()));
    let lines = Lines::default();
    let _listening = lines.listen();
    let address = serve(app).await;

    for (path, status, bytes) in [("/wait", "499", "0"), ("/stream", "200", "3")] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        if path == "/wait" {
            started.notified().await;
        } else {
            let mut head = [0; 12];
            client.read_exact(&mut head).await.unwrap();
            assert_eq!(&head, b"HTTP/1.1 200");
        }
        drop(client);
        dropped.recv().await.unwrap();
        // The line follows in the same drop, which is over once anybody else runs.
        tokio::task::yield_now().await;

        let told = lines.with(&format!("path=\"{path}\""));
        assert_eq!(told.len(), 1, "{}", lines.text());
        let line = Line(told[0].split_once("request ended").unwrap().1.to_owned());
        line.expect(&[
            ("status", status),
            ("ended", "client_gone"),
            ("body_bytes", bytes),
        ]);
        assert!(line.field("trace_id").is_some());
    }
}
