//! What is good to have, and is not what the shop is open for.

use std::time::Duration;

use axum::Json;
use serde_json::{Value, json};
use steadfast::clock::sleep;

/// `GET /catalogue`: what can be ordered.
pub async fn list() -> Json<Value> {
    // As long as a database takes for it.
    sleep(Duration::from_millis(20)).await;
    Json(json!({ "items": ["tea", "teapot", "biscuits", "unicorn"] }))
}
