//! The shop, without a socket.

use axum::body::Body;
use axum::http::Request;
use steadfast::report::prometheus;
use tower::ServiceExt;

/// One shop at a time: what a process tells of its guard is one number.
static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn the_policy_has_nothing_doubtful_in_it_and_every_route_is_guarded() {
    let _one = ONE.lock().await;
    let shop = steadfast_shop::open("127.0.0.1:1").await.unwrap();

    assert_eq!(shop.guard.warnings(), []);
    let armed = shop.guard.armed();
    assert!(armed.is_clean(), "{armed}");
    assert_eq!(armed.routes.len(), 6);
}

#[tokio::test]
async fn what_prometheus_scrapes_is_there_and_past_the_guard() {
    let _one = ONE.lock().await;
    let shop = steadfast_shop::open("127.0.0.1:1").await.unwrap();
    let request = Request::get("/metrics").body(Body::empty()).unwrap();

    let answer = shop.routes.oneshot(request).await.unwrap();

    assert_eq!(answer.headers()["content-type"], prometheus::CONTENT_TYPE);
    let text = axum::body::to_bytes(answer.into_body(), 1 << 20)
        .await
        .unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    for line in [
        "steadfast_guard_armed 1",
        "steadfast_guard_requests_total 0",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
}
