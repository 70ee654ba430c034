use std::convert::Infallible;
use std::pin::Pin;
use std::task::{self, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use steadfast_core::context;
use steadfast_tower::route::UNMATCHED;
use steadfast_tower::{RouteLayer, TraceIdLayer, Trust};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Lines, Panics, get, keeps_the_contract};

fn by_prefix() -> RouteLayer {
    RouteLayer::new(|request| {
        let path = request.uri.path();
        assert_ne!(path, "/panic", "tower-route: naming");
        let known = path.strip_prefix("/orders/").map(|_| "/orders/{id}".into());
        known.or_else(|| path.strip_prefix("/as-is").map(Into::into))
    })
}

/// Gives, as its one frame, the route at hand when it is polled.
struct OwnRoute(bool);

impl Body for OwnRoute {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let over = std::mem::replace(&mut self.0, true);
        let route = context::current().route().unwrap();
        Poll::Ready((!over).then(|| Ok(Frame::data(route.as_str().into()))))
    }
}

/// Gives the route in the handler, in a task of it, and in a frame of its answer.
async fn routes_of(path: &str) -> [String; 3] {
    let handler = service_fn(async |_: Request<Full<Bytes>>| {
        let own = || context::current().route().unwrap().to_string();
        let task = steadfast_core::spawn("aside", async move { own() });
        let told = format!("{} {}", own(), task.await.unwrap());
        let mut response = Response::new(OwnRoute(false));
        response
            .headers_mut()
            .insert("routes", told.parse().unwrap());
        Ok::<_, Infallible>(response)
    });

    let response = by_prefix().layer(handler).oneshot(get(path)).await.unwrap();

    let told = response.headers()["routes"].to_str().unwrap().to_owned();
    let (handler, task) = told.split_once(' ').unwrap();
    let frame = response.into_body().collect().await.unwrap().to_bytes();
    let frame = String::from_utf8(frame.to_vec()).unwrap();
    [handler.to_owned(), task.to_owned(), frame]
}

#[tokio::test]
async fn the_handler_its_tasks_and_its_frames_know_the_route() {
    assert_eq!(routes_of("/orders/4711").await, ["/orders/{id}"; 3]);
    assert_eq!(context::current().route(), None, "nothing is left behind");
}

#[tokio::test]
async fn requests_without_a_name_share_one_and_long_names_another() {
    let long = format!("/as-is{}", "x".repeat(97));

    assert_eq!(routes_of("/wp-login.php").await, [UNMATCHED.as_str(); 3]);
    assert_eq!(routes_of("/as-is").await, [UNMATCHED.as_str(); 3]);
    assert_eq!(routes_of(&long).await, ["(other)"; 3]);
}

#[tokio::test]
async fn a_request_whose_naming_panics_is_served_without_a_name() {
    let panics = Panics::of("assertion `left != right` failed: tower-route:");

    assert_eq!(routes_of("/panic").await, [UNMATCHED.as_str(); 3]);

    assert_eq!(panics.heard().len(), 1);
}

#[tokio::test]
async fn the_span_of_the_request_has_the_route() {
    let lines = Lines::default();
    let listening = lines.listen();
    let service = ServiceBuilder::new()
        .layer(TraceIdLayer::new(Trust::Edge))
        .layer(by_prefix())
        .service(service_fn(async |_: Request<Full<Bytes>>| {
            tracing::info!("in the handler");
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));

    service.oneshot(get("/orders/4711")).await.unwrap();
    drop(listening);

    let [line] = &lines.with("in the handler")[..] else {
        panic!("{}", lines.text());
    };
    assert!(line.contains("route=/orders/{id}"), "{line}");
    assert!(!line.contains("4711"), "{line}");
}

#[tokio::test]
async fn it_keeps_the_contract_of_tower() {
    keeps_the_contract(by_prefix()).await;
}
