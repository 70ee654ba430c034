use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use axum::routing::get as route;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use steadfast_core::decide::policy::Policy;
use steadfast_tower::recover::RecoverBodyError;
use steadfast_tower::{Guard, RecoverLayer, TraceIdLayer, Trust};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Answer, Bomb, Panics, exchange, get, json, serve};

#[derive(Default, Clone)]
struct Panicking {
    in_ready: Option<&'static str>,
    in_call: Option<&'static str>,
    in_future: Option<&'static str>,
    in_clone: Option<&'static str>,
    in_drop: Option<&'static str>,
}

/// Panics where it is told to.
struct Inner(Panicking);

impl Service<Request<Full<Bytes>>> for Inner {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        blow(self.0.in_ready);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        blow(self.0.in_call);
        let in_future = self.0.in_future;
        Box::pin(async move {
            tokio::task::yield_now().await;
            blow(in_future);
            Ok(Response::new(Full::from("served")))
        })
    }
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        blow(self.0.in_clone);
        Self(self.0.clone())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            blow(self.0.in_drop);
        }
    }
}

fn blow(message: Option<&'static str>) {
    if let Some(message) = message {
        panic!("{message}");
    }
}

#[tokio::test]
async fn a_panic_anywhere_before_the_answer_is_a_500_with_the_trace_id() {
    let places = [
        Panicking {
            in_ready: Some("tower-a: ready"),
            ..Panicking::default()
        },
        Panicking {
            in_call: Some("tower-a: call"),
            ..Panicking::default()
        },
        Panicking {
            in_future: Some("tower-a: future"),
            ..Panicking::default()
        },
    ];
    let panics = Panics::of("tower-a:");
    let mut ids = Vec::new();
    for place in places {
        let service = ServiceBuilder::new()
            .layer(TraceIdLayer::new(Trust::Edge))
            .layer(RecoverLayer::new())
            .service(Inner(place));

        let response = service.oneshot(get("/")).await.unwrap();

        assert_eq!(response.status(), 500);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let id = response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let problem = json(response).await;
        assert_eq!(problem["trace_id"], *id);
        assert_eq!(problem["type"], "urn:steadfast:problem:internal");
        assert!(!problem.to_string().contains("tower-a"), "{problem}");
        ids.push(id);
    }

    let heard = panics.heard();
    assert_eq!(heard.len(), 3, "each is told once: {heard:?}");
    assert!(heard.iter().all(|panic| panic.contained));
    // The one of `poll_ready` belongs to no request.
    let told: Vec<_> = heard[1..]
        .iter()
        .map(|panic| panic.trace_id.clone().unwrap())
        .collect();
    assert_eq!(told, ids[1..]);
}

#[tokio::test]
async fn a_service_that_was_not_ready_is_called_again_once_it_is() {
    let mut service = RecoverLayer::new().layer(Inner(Panicking {
        in_ready: Some("tower-b: ready"),
        ..Panicking::default()
    }));
    let broken = service.ready().await.unwrap().call(get("/")).await.unwrap();
    assert_eq!(broken.status(), 500);

    let mut healed = RecoverLayer::new().layer(Inner(Panicking::default()));
    let served = healed.ready().await.unwrap().call(get("/")).await.unwrap();

    assert_eq!(served.status(), 200);
    let body = served.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "served");
}

#[tokio::test]
async fn a_panicking_clone_or_drop_of_the_service_stays_inside() {
    let panics = Panics::of("tower-c:");
    let service = RecoverLayer::new().layer(Inner(Panicking {
        in_clone: Some("tower-c: clone"),
        in_drop: Some("tower-c: drop"),
        ..Panicking::default()
    }));

    let clone = service.clone();
    let response = clone.oneshot(get("/")).await.unwrap();
    drop(service);

    assert_eq!(response.status(), 500);
    let told: Vec<_> = panics
        .heard()
        .into_iter()
        .map(|panic| panic.message)
        .collect();
    assert_eq!(told, ["tower-c: clone", "tower-c: drop"]);
}

#[tokio::test]
async fn a_guard_contains_a_panicking_clone_or_drop_of_the_service_it_is_put_around() {
    let panics = Panics::of("tower-g:");
    let guard = Guard::new(Policy::default()).unwrap();
    let around = guard.layer(|_| None);
    let panicking = |in_clone, in_drop| {
        around.layer(Inner(Panicking {
            in_clone,
            in_drop,
            ..Panicking::default()
        }))
    };

    let mut service = panicking(Some("tower-g: clone"), None);
    let response = service.ready().await.unwrap().call(get("/")).await.unwrap();
    drop(panicking(None, Some("tower-g: drop")));

    assert_eq!(response.status(), 500);
    let told = panics.heard().into_iter();
    let told: Vec<_> = told.map(|panic| panic.message).collect();
    assert_eq!(told, ["tower-g: clone", "tower-g: drop"]);
}

#[tokio::test]
async fn errors_of_the_inner_service_keep_their_type_and_value() {
    let failing = service_fn(async |_: Request<Full<Bytes>>| {
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other("broken"))
    });
    let service = RecoverLayer::new().layer(failing);

    let error: std::io::Error = service.oneshot(get("/")).await.unwrap_err();

    assert_eq!(error.to_string(), "broken");
}

#[tokio::test]
async fn a_panic_in_a_frame_cuts_the_stream_off_and_says_so() {
    let panics = Panics::of("tower-d:");
    let service = ServiceBuilder::new()
        .layer(TraceIdLayer::new(Trust::Edge))
        .layer(RecoverLayer::new())
        .service(service_fn(async |_: Request<Full<Bytes>>| {
            Ok::<_, Infallible>(Response::new(Bomb {
                frames: 2,
                in_frame: Some("tower-d: frame"),
                in_drop: Some("tower-d: drop"),
                paused: false,
            }))
        }));

    let response = service.oneshot(get("/")).await.unwrap();
    let id = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let mut body = response.into_body();
    for _ in 0..2 {
        assert!(body.frame().await.unwrap().is_ok());
    }
    let error = body.frame().await.unwrap().unwrap_err();

    let RecoverBodyError::Panicked(panic) = error;
    assert_eq!(panic.message(), "tower-d: frame");
    assert!(body.frame().await.is_none(), "nothing comes after it");
    let told: Vec<_> = panics.heard();
    let ids: Vec<_> = told
        .iter()
        .map(|panic| panic.trace_id.clone().unwrap())
        .collect();
    assert_eq!(ids, [id.clone(), id], "{told:?}");
}

#[tokio::test]
async fn a_client_of_grpc_gets_its_own_kind_of_answer() {
    let service = RecoverLayer::new().layer(Inner(Panicking {
        in_future: Some("tower-e: future"),
        ..Panicking::default()
    }));
    let mut request = get("/");
    let kind = http::HeaderValue::from_static("application/grpc+proto");
    request.headers_mut().insert("content-type", kind);

    let response = service.oneshot(request).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "13");
}

#[tokio::test]
async fn over_a_socket_the_client_sees_a_500_or_a_broken_stream_and_the_server_goes_on() {
    let panics = Panics::of("tower-f:");
    let app = Router::new()
        .route(
            "/panic",
            route(async || -> &str { panic!("tower-f: handler") }),
        )
        .route(
            "/stream",
            route(async || {
                axum::body::Body::new(Bomb {
                    frames: 1,
                    in_frame: Some("tower-f: frame"),
                    ..Bomb::default()
                })
            }),
        )
        .route("/fine", route(async || "fine"))
        .layer((TraceIdLayer::new(Trust::Edge), RecoverLayer::new()));
    let address = serve(app).await;
    let ask = async |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        exchange(address, &request).await
    };

    let panicked = ask("/panic").await;
    let streamed = ask("/stream").await;
    let fine = ask("/fine").await;

    assert!(panicked.starts_with("HTTP/1.1 500"), "{panicked}");
    assert!(streamed.starts_with("HTTP/1.1 200"), "{streamed}");
    assert!(streamed.contains("frame\n"), "{streamed}");
    assert!(
        !streamed.ends_with("0\r\n\r\n"),
        "it must not look whole: {streamed}"
    );
    assert!(fine.ends_with("fine"), "{fine}");
    let heard = panics.heard();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(
        heard
            .iter()
            .all(|panic| panic.contained && panic.trace_id.is_some())
    );
}
