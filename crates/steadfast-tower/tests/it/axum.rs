use std::convert::Infallible;

use axum::Router;
use axum::routing::get;
use http::{Request, Response};
use http_body_util::BodyExt;
use steadfast_core::context;
use steadfast_tower::RouteLayer;
use tower::{ServiceExt, service_fn};

#[tokio::test]
async fn a_router_names_its_routes_with_the_prefixes_of_those_around() {
    async fn route() -> &'static str {
        context::current().route().unwrap().as_str()
    }
    let orders = Router::new().route("/orders/{id}", get(route));
    let app = Router::new()
        .route("/", get(route))
        .nest("/api/{version}", orders)
        .nest_service(
            "/files",
            service_fn(async |_: axum::extract::Request| {
                Ok::<_, Infallible>(Response::new(route().await.to_owned()))
            }),
        )
        .fallback(route)
        .layer(RouteLayer::matched_path());

    for (path, expected) in [
        ("/", "/"),
        ("/api/v1/orders/4711", "/api/{version}/orders/{id}"),
        ("/files/logo.png", "unmatched"),
        ("/wp-login.php", "unmatched"),
    ] {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();

        assert_eq!(body, expected, "{path}");
    }
}
