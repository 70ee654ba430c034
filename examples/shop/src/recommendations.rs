//! A bug that costs one answer, not the process: nobody thought of customers without purchases.

use axum::Json;
use axum::extract::Path;
use serde_json::{Value, json};

/// `GET /recommendations/{customer}`; works for `ada`, and panics for everybody else.
pub async fn list(Path(customer): Path<String>) -> Json<Value> {
    let bought = purchases(&customer);
    let latest = bought[bought.len() - 1];
    Json(json!({ "because_you_bought": latest, "recommended": ["teapot", "biscuits"] }))
}

fn purchases(customer: &str) -> Vec<&'static str> {
    match customer {
        "ada" => vec!["tea"],
        _ => Vec::new(),
    }
}
