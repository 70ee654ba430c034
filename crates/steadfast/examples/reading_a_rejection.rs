//! The program of `docs/how-to/reading-a-rejection.md`.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use steadfast::clock::sleep;
use steadfast::tower::{Guard, PolicyDocument};

const POLICY: &str = r#"
[timeouts.page]
timeout = "200ms"

[rates.polite]
requests = 1
period = "1m"
burst = 1

[routes."GET /search"]
timeout = "page"
quota = "polite"

[routes."GET /report"]
timeout = "page"
"#;

/// The routes, behind the guard.
pub async fn app() -> Result<Router, steadfast::BoxError> {
    let routes = Router::new()
        .route("/search", get(async || "found\n"))
        .route(
            "/report",
            get(async || sleep(Duration::from_secs(10)).await),
        );
    let policy = PolicyDocument::new("policy.toml", POLICY)?;
    let guard = Guard::new(policy)?;
    Ok(guard.protect(routes).await?)
}

#[tokio::main]
async fn main() -> Result<(), steadfast::BoxError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, app().await?).await?)
}
