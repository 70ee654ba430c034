//! The gateway that the shop pays through, and that belongs to somebody else: it listens on an
//! address of its own, and can be made slow or failing, as others' services are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use steadfast::clock::sleep;

/// How the gateway is today.
#[derive(Default)]
struct Mood(AtomicU8);

const WELL: u8 = 0;
const SLOW: u8 = 1;
const FAILING: u8 = 2;

/// Builds the gateway: holds of money, and `PUT /mood/{mood}` with `well`, `slow` or `failing`.
pub fn router() -> Router {
    let mood = Arc::new(Mood::default());
    Router::new()
        .route("/holds/{hold}", put(hold).post(confirm).delete(release))
        .layer(from_fn_with_state(mood.clone(), suffer))
        .route("/mood/{mood}", put(change))
        .with_state(mood)
}

async fn change(State(mood): State<Arc<Mood>>, Path(name): Path<String>) -> Response {
    let to = match name.as_str() {
        "well" => WELL,
        "slow" => SLOW,
        "failing" => FAILING,
        _ => return (StatusCode::NOT_FOUND, "well, slow or failing\n").into_response(),
    };
    mood.0.store(to, Ordering::Relaxed);
    format!("the gateway is {name} now\n").into_response()
}

async fn suffer(State(mood): State<Arc<Mood>>, request: Request, next: Next) -> Response {
    match mood.0.load(Ordering::Relaxed) {
        SLOW => sleep(Duration::from_secs(5)).await,
        FAILING => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => sleep(Duration::from_millis(10)).await,
    }
    next.run(request).await
}

async fn hold(Path(_hold): Path<u64>) -> StatusCode {
    StatusCode::CREATED
}

async fn confirm(Path(_hold): Path<u64>) -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn release(Path(_hold): Path<u64>) -> StatusCode {
    StatusCode::NO_CONTENT
}
