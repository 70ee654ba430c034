use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::routing::get as route;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use steadfast_core::context::{self, Tier};
use steadfast_core::report::{self, Value};
use steadfast_core::shutdown::{Limits, Phase};
use steadfast_core::{Shutdown, clock};
use steadfast_tower::drain::{Drain, DrainLayer, DrainLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Answer, Lines, get, json};

const SECOND: Duration = Duration::from_secs(1);

/// Five seconds of notice, twenty in all.
fn drain() -> Drain {
    Drain::new(DrainLimits {
        notice: 5 * SECOND,
        lower: Duration::from_secs(60),
        hard: 20 * SECOND,
    })
}

type Inner = fn(Request<Full<Bytes>>) -> std::future::Ready<Answer>;

fn handler() -> tower::util::ServiceFn<Inner> {
    service_fn(|_| std::future::ready(Ok(Response::new(Full::from("served")))))
}

async fn ask(drain: &Drain, tier: Tier) -> Response<impl Body<Data = Bytes, Error = Infallible>> {
    let mut service = DrainLayer::new(drain).layer(handler());
    let context = context::current().with_tier(tier);
    context.run(|| service.call(get("/"))).await.unwrap()
}

/// Status, and whether the client is asked to leave.
async fn told(drain: &Drain, tier: Tier) -> (u16, bool) {
    let response = ask(drain, tier).await;
    let close = response.headers().get("connection");
    (
        response.status().as_u16(),
        close.is_some_and(|value| value == "close"),
    )
}

#[tokio::test(start_paused = true)]
async fn what_is_less_important_is_rejected_first_and_nobody_before_the_notice_is_over() {
    let drain = drain();
    assert!(drain.is_ready());
    assert_eq!(told(&drain, Tier::CORE).await, (200, false));
    assert_eq!(told(&drain, Tier::DEFAULT).await, (200, false));

    assert!(drain.start());
    assert!(!drain.start(), "only once");
    let begun = clock::now();
    for (at, core, other) in [
        (0, 200, 200),
        (4, 200, 200),
        (5, 200, 503),
        (19, 200, 503),
        (20, 503, 503),
    ] {
        clock::sleep_until(begun + at * SECOND).await;
        assert!(!drain.is_ready());
        assert_eq!(told(&drain, Tier::CORE).await, (core, true), "{at} s");
        assert_eq!(told(&drain, Tier::DEFAULT).await, (other, true), "{at} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_client_is_told_why() {
    let drain = Drain::new(DrainLimits {
        notice: Duration::ZERO,
        ..DrainLimits::default()
    });
    drain.start();

    let problem = json(ask(&drain, Tier::DEFAULT).await).await;

    assert_eq!(problem["type"], "urn:steadfast:problem:draining");
    assert_eq!(problem["policy"], "drain");
    assert_eq!(
        (&problem["limit"], &problem["observed"]),
        (&0.into(), &0.into())
    );
    assert_eq!(problem["retry_after"], 1);

    clock::sleep(21 * SECOND).await;
    let problem = json(ask(&drain, Tier::CORE).await).await;
    assert_eq!(problem["limit"], 20, "not even core");
    assert_eq!(problem["observed"], 21);
    assert_eq!(problem["unit"], "seconds of the drain");
}

#[tokio::test(start_paused = true)]
async fn only_protocols_that_know_the_header_have_it() {
    let drain = drain();
    drain.start();
    let mut service =
        DrainLayer::new(&drain).layer(service_fn(async |request: Request<Full<Bytes>>| {
            let upgrade = request.headers().contains_key("upgrade");
            let mut response = Response::new(Full::<Bytes>::default());
            if upgrade {
                *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
                let upgrade = http::HeaderValue::from_static("upgrade");
                response.headers_mut().insert("connection", upgrade);
            }
            Ok::<_, Infallible>(response)
        }));
    let mut ask = async |version, upgrade: bool| {
        let mut request = get("/");
        *request.version_mut() = version;
        if upgrade {
            let upgrade = http::HeaderValue::from_static("websocket");
            request.headers_mut().insert("upgrade", upgrade);
        }
        let response = service.call(request).await.unwrap();
        let value = response.headers().get("connection");
        value.map(|value| value.to_str().unwrap().to_owned())
    };

    assert_eq!(ask(Version::HTTP_10, false).await.as_deref(), Some("close"));
    assert_eq!(ask(Version::HTTP_11, false).await.as_deref(), Some("close"));
    assert_eq!(
        ask(Version::HTTP_11, true).await.as_deref(),
        Some("upgrade")
    );
    assert_eq!(ask(Version::HTTP_2, false).await, None);
    clock::sleep(5 * SECOND).await;
    assert_eq!(
        ask(Version::HTTP_2, false).await,
        None,
        "a rejection neither"
    );
}

// === in flight ===

/// Gives one frame, and ends, fails, or waits for ever.
struct Slow {
    frames: u8,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    End,
    Fail,
    Wait,
}

impl Body for Slow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.frames > 0 {
            self.frames -= 1;
            return Poll::Ready(Some(Ok(Frame::data("frame".into()))));
        }
        match self.then {
            Then::End => Poll::Ready(None),
            Then::Fail => Poll::Ready(Some(Err(io::Error::other("broken")))),
            Then::Wait => Poll::Pending,
        }
    }
}

async fn answer_that(
    drain: &Drain,
    then: Then,
) -> Response<impl Body<Data = Bytes, Error = io::Error> + Unpin> {
    let handler = service_fn(move |_: Request<Full<Bytes>>| async move {
        Ok::<_, Infallible>(Response::new(Slow { frames: 1, then }))
    });
    DrainLayer::new(drain)
        .layer(handler)
        .oneshot(get("/"))
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_is_in_flight_until_its_answer_has_ended() {
    let drain = drain();
    for then in [Then::End, Then::Fail] {
        let mut answer = answer_that(&drain, then).await;
        assert_eq!(drain.in_flight(), 1);
        assert!(answer.body_mut().frame().await.unwrap().is_ok());
        assert_eq!(drain.in_flight(), 1, "more may come");

        let end = answer.body_mut().frame().await;

        assert!(end.is_none_or(|frame| frame.is_err()));
        assert_eq!(drain.in_flight(), 0);
    }

    let gone = answer_that(&drain, Then::Wait).await;
    drop(gone);
    assert_eq!(drain.in_flight(), 0, "the client is gone");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_gets_an_answer_is_in_flight_no_more() {
    let drain = drain();
    let mut stuck = DrainLayer::new(&drain).layer(service_fn(async |_: Request<Full<Bytes>>| {
        std::future::pending::<Answer>().await
    }));
    let mut call = Box::pin(stuck.call(get("/")));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!(drain.in_flight(), 1);
    drop(call);
    assert_eq!(drain.in_flight(), 0);

    let failing = DrainLayer::new(&drain).layer(service_fn(async |_: Request<Full<Bytes>>| {
        Err::<Response<Full<Bytes>>, _>(io::Error::other("broken"))
    }));
    let error: io::Error = failing.oneshot(get("/")).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "broken",
        "the error is the handler's own"
    );
    assert_eq!(drain.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_drain_ends_with_the_last_answer_and_not_before_the_notice_is_over() {
    let drain = drain();
    let (one, two) = (
        answer_that(&drain, Then::Wait).await,
        answer_that(&drain, Then::Wait).await,
    );
    let begun = clock::now();
    drain.start();
    let waiter = steadfast_core::spawn("waiter", {
        let drained = drain.drained();
        async move { (drained.await, clock::now() - begun) }
    });

    clock::sleep(7 * SECOND).await;
    drop(one);
    clock::sleep(SECOND).await;
    drop(two);

    let (drained, took) = waiter.await.unwrap();
    assert!(drained.is_clean());
    assert_eq!(took, 8 * SECOND);

    let idle = self::drain();
    let begun = clock::now();
    idle.start();
    idle.stop_accepting().await;
    assert_eq!(clock::now() - begun, 5 * SECOND);
    assert!(idle.drained().await.is_clean());
    assert_eq!(
        clock::now() - begun,
        5 * SECOND,
        "nobody is there to wait for"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_waited_for_until_the_hard_limit() {
    let drain = drain();
    let unread = answer_that(&drain, Then::Wait).await;
    let begun = clock::now();
    let lines = Lines::default();
    let guard = lines.listen();
    drain.start();

    let drained = drain.drained().await;
    drop(guard);

    assert_eq!((drained.is_clean(), drained.left()), (false, 1));
    assert_eq!(clock::now() - begun, 20 * SECOND);
    drain.hard_limit().await;
    assert_eq!(clock::now() - begun, 20 * SECOND);
    let text = lines.text();
    assert!(text.contains("draining in_flight=1"), "{text}");
    assert!(
        text.contains("WARN steadfast::drain") && text.contains("left=1"),
        "{text}"
    );
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn the_report_tells_what_is_in_flight() {
    let drain = drain();
    let context = context::current().with_tier(Tier::new(6).unwrap());
    let handler = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Slow {
            frames: 1,
            then: Then::Wait,
        }))
    });
    let mut service = DrainLayer::new(&drain).layer(handler);
    let held = context.run(|| service.call(get("/"))).await.unwrap();

    // Other tests have drains, too; but none has requests of this tier.
    let snapshot = report::snapshot();
    let sum: f64 = snapshot
        .metrics()
        .filter(|metric| metric.name == "steadfast_drain_in_flight")
        .filter(|metric| metric.labels == [("tier", "6".into())])
        .map(|metric| match &metric.value {
            Value::Gauge(value) => *value,
            other => panic!("{other:?}"),
        })
        .sum();

    assert_eq!(sum, 1.0);
    drop(held);
}

// === with a shutdown ===

#[tokio::test(start_paused = true)]
async fn a_drain_that_follows_a_shutdown_begins_with_it_and_holds_it_up() {
    let shutdown = Shutdown::new(Limits {
        not_ready: 5 * SECOND,
        ..Limits::default()
    });
    let drain = drain();
    drain.follow(&shutdown).unwrap();
    let answer = answer_that(&drain, Then::Wait).await;
    let driver = steadfast_core::spawn("driver", {
        let shutdown = shutdown.clone();
        async move { shutdown.drive().await }
    });

    shutdown.request("deploy");
    shutdown.reached(Phase::DrainLower).await;
    assert!(!drain.is_ready());
    clock::sleep(SECOND).await;
    assert_eq!(
        shutdown.phase(),
        Phase::DrainLower,
        "the request is still in flight"
    );
    drop(answer);

    let report = driver.await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_when_the_shutdown_cancels_what_is_left() {
    let shutdown = Shutdown::default();
    let drain = drain();
    drain.follow(&shutdown).unwrap();
    let unread = answer_that(&drain, Then::Wait).await;
    // Two signals before anybody drives: the first phases are jumped over.
    shutdown.signal("SIGTERM");
    shutdown.signal("SIGTERM");
    assert_eq!(told(&drain, Tier::CORE).await.0, 200);
    let driver = steadfast_core::spawn("driver", async move { shutdown.drive().await });

    let drained = clock::timeout(SECOND, drain.drained()).await.unwrap();

    assert_eq!(drained.left(), 1);
    assert_eq!(told(&drain, Tier::CORE).await.0, 503);
    drop(unread);
    driver.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_has_begun_is_followed_at_once() {
    let shutdown = Shutdown::default();
    shutdown.request("deploy");
    let drain = drain();

    drain.follow(&shutdown).unwrap();

    assert!(!drain.is_ready());
}

// === the contract of tower ===

#[tokio::test(start_paused = true)]
async fn capacity_of_the_inner_service_comes_back_and_rejections_need_none() {
    let drain = drain();
    let limit = Arc::new(Semaphore::new(1));
    let service = ServiceBuilder::new()
        .layer(DrainLayer::new(&drain))
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(limit.clone()))
        .service(service_fn(async |_: Request<Full<Bytes>>| {
            std::future::pending::<Answer>().await
        }));
    let mut cx = Context::from_waker(std::task::Waker::noop());

    let mut begin = || {
        let mut service = service.clone();
        assert!(service.poll_ready(&mut cx).is_ready(), "whatever is inside");
        let mut call = Box::pin(service.call(get("/")));
        assert!(call.as_mut().poll(&mut cx).is_pending());
        call
    };

    let (served, waits) = (begin(), begin());
    assert_eq!((drain.in_flight(), limit.available_permits()), (2, 0));
    drop(waits);
    drop(served);
    assert_eq!((drain.in_flight(), limit.available_permits()), (0, 1));

    let served = begin();
    drain.start();
    clock::sleep(5 * SECOND).await;
    let rejected = service.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(rejected.status(), 503, "without the capacity that is taken");
    drop(served);
}

// === over sockets ===

async fn read_answer(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(b"served") {
        let mut byte = [0];
        assert_eq!(socket.read(&mut byte).await.unwrap(), 1, "closed too early");
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn clients_that_stay_connected_leave_and_the_server_ends() {
    let drain = Drain::new(DrainLimits {
        notice: Duration::ZERO,
        lower: Duration::from_secs(60),
        hard: 600 * SECOND,
    });
    let (begun, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (begin, wait) = (begun.clone(), go_on.clone());
    let slow = async move || {
        begin.add_permits(1);
        wait.acquire().await.unwrap().forget();
        "served"
    };
    let app = Router::new()
        .route("/", route(async || "served"))
        .route("/slow", route(slow))
        .layer(DrainLayer::new(&drain));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let graceful = axum::serve(listener, app).with_graceful_shutdown(drain.stop_accepting());
    let server = steadfast_core::spawn("server", async move { graceful.await });
    let (mut busy, mut idle) = (
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
    );
    for socket in [&mut busy, &mut idle] {
        let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
        socket.write_all(request).await.unwrap();
        let answer = read_answer(socket).await;
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    let request = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
    busy.write_all(request).await.unwrap();
    begun.acquire().await.unwrap().forget();

    drain.start();
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "closed at once");
    assert_eq!(drain.in_flight(), 1);
    go_on.add_permits(1);
    let answer = read_answer(&mut busy).await;

    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(busy.read(&mut [0]).await.unwrap(), 0);
    server.await.unwrap().unwrap();
    assert!(drain.drained().await.is_clean());
}
