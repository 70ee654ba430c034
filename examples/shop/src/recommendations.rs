//! A bug that costs one answer, not the process: nobody thought of customers without purchases.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use serde_json::{Value, json};

use crate::database;

/// `GET /recommendations/{customer}`; works for `ada`, and panics for everybody else.
pub async fn list(Path(customer): Path<String>) -> Json<Value> {
    let bought = purchases(&customer).await;
    let latest = bought[bought.len() - 1];
    Json(json!({ "because_you_bought": latest, "recommended": ["teapot", "biscuits"] }))
}

async fn purchases(customer: &str) -> Vec<&'static str> {
    // Nobody has made this quick yet: that is what the orders are to be kept safe from.
    database::ask(Duration::from_millis(50)).await;
    match customer {
        "ada" => vec!["tea"],
        _ => Vec::new(),
    }
}
