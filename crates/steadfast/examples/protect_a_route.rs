//! The program of `docs/guide/protect-a-route.md`.

use axum::{Json, Router, extract::Path, routing::get};
use steadfast::tower::{Guard, PolicyDocument};

const POLICY: &str = r#"
[timeouts.page]
timeout = "2s"

[routes."GET /recommendations/{customer}"]
timeout = "page"
"#;

/// The routes, behind the guard.
pub async fn app() -> Result<Router, steadfast::BoxError> {
    let routes = Router::new().route("/recommendations/{customer}", get(recommendations));
    let policy = PolicyDocument::new("policy.toml", POLICY)?;
    let guard = Guard::new(policy)?;
    Ok(guard.protect(routes).await?)
}

async fn recommendations(Path(customer): Path<String>) -> Json<String> {
    let bought = if customer == "ada" {
        vec!["tea"]
    } else {
        vec![]
    };
    Json(format!("a teapot, because you bought {}", bought[0]))
}

#[tokio::main]
async fn main() -> Result<(), steadfast::BoxError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, app().await?).await?)
}
