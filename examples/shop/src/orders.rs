//! What was begun is undone in every way out: the payment hold of an order that fails is
//! released, whether by an error, a panic, a timeout or a client that left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use steadfast::clock::sleep;
use steadfast::{ScopeError, scope};

/// What can go wrong with an order; the client is told this, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderError {
    /// The request has no `"item"`.
    NoItem,
    /// There are none left of it.
    SoldOut,
}

/// Money that is put aside until the order is confirmed or given up.
struct Hold;

/// `POST /orders` with `{"item": "…"}`; the item `"unicorn"` is always sold out.
pub async fn create(Json(order): Json<Value>) -> Response {
    let ended = scope("create_order")
        .error::<OrderError>()
        .timeout(Duration::from_secs(2))
        .on_report(|report| tracing::info!(target: "shop", "{report}"))
        .run(async |s| {
            let item = order["item"].as_str().ok_or(OrderError::NoItem)?;
            let hold = s.own("release the hold", hold().await, async |hold| {
                release(hold).await
            });
            s.spawn("reserve stock", sleep(Duration::from_millis(5)));
            if item == "unicorn" {
                return Err(OrderError::SoldOut);
            }
            // From here on the money is spent: there is nothing to release any more.
            confirm(hold.disarm()).await;
            Ok(next_number())
        })
        .await;
    match ended {
        Ok(number) => (StatusCode::CREATED, Json(json!({ "order": number }))).into_response(),
        Err(ScopeError::Failed(error)) => error.into_response(),
        // The edge answers for everything that is nobody's fault in particular.
        Err(ScopeError::Panicked(panic)) => panic.resume(),
        Err(ScopeError::Cancelled(_)) => StatusCode::GATEWAY_TIMEOUT.into_response(),
    }
}

impl IntoResponse for OrderError {
    fn into_response(self) -> Response {
        let (status, title) = match self {
            OrderError::NoItem => (
                StatusCode::BAD_REQUEST,
                "say which item: {\"item\": \"tea\"}",
            ),
            OrderError::SoldOut => (StatusCode::CONFLICT, "sold out"),
        };
        (
            status,
            Json(json!({ "title": title, "status": status.as_u16() })),
        )
            .into_response()
    }
}

async fn hold() -> Hold {
    sleep(Duration::from_millis(10)).await;
    Hold
}

async fn confirm(_hold: Hold) {
    sleep(Duration::from_millis(10)).await;
}

async fn release(_hold: Hold) {
    sleep(Duration::from_millis(10)).await;
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(4711);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}
