//! A few customers, so that there is something to see.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use steadfast::{Shutdown, clock, spawn};

/// How often one comes: four times a second, far below what the shop is made for.
const EVERY: Duration = Duration::from_millis(250);

/// How long one waits: 5 s, as people do.
const PATIENCE: Duration = Duration::from_secs(5);

/// What they want, one after the other.
const WANTED: [(&str, &str, &str); 4] = [
    ("GET", "/catalogue", ""),
    ("GET", "/recommendations/ada", ""),
    ("GET", "/catalogue", ""),
    ("POST", "/orders", r#"{"item": "tea"}"#),
];

/// Sends them until the end begins.
pub(super) async fn send(shop: SocketAddr, shutdown: &Shutdown) {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let stop = shutdown.stop_accepting();
    for (method, path, body) in WANTED.into_iter().cycle() {
        let client = client.clone();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{shop}{path}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body));
        // At most twenty at once: four a second, for five seconds.
        spawn("a customer", async move {
            let answered = async {
                let answer = client.request(request.ok()?).await.ok()?;
                answer.into_body().collect().await.ok()
            };
            // What becomes of it is on the board.
            let _ = clock::timeout(PATIENCE, answered).await;
        });
        if stop.run(clock::sleep(EVERY)).await.is_err() {
            return;
        }
    }
}
