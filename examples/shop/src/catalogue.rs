//! What is good to have, and is not what the shop is open for.

use std::time::Duration;

use axum::Json;
use serde_json::{Value, json};

use crate::database;

/// `GET /catalogue`: what can be ordered.
pub async fn list() -> Json<Value> {
    database::ask(Duration::from_millis(20)).await;
    Json(json!({ "items": ["tea", "teapot", "biscuits", "unicorn"] }))
}
