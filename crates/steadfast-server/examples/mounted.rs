//! A service of your own that runs jobs, and has the API of the program beside its routes.
//!
//! `cargo run -p steadfast-server --example mounted`, and in another terminal:
//!
//! ```console
//! $ printf '[store]\nurl = "sqlite:mounted.db"\n' > mounted.toml
//! $ export STEADFAST_TOKEN=$(steadfast admin token create --name me --role operator --config mounted.toml)
//! $ steadfast jobs list --server http://127.0.0.1:8080/ops
//! ```

use std::process::ExitCode;

use axum::Router;
use axum::routing::get;
use steadfast::store::{Config, Store};
use steadfast::tower::{Guard, PolicyDocument};
use steadfast::{BoxError, Shutdown};
use steadfast_server::{Api, ApiOptions};
use tokio::net::TcpListener;

const POLICY: &str = r#"
[timeouts.page]
timeout = "1s"
[routes."GET /orders"]
timeout = "page"
"#;

fn main() -> ExitCode {
    steadfast::run(serve)
}

async fn serve(shutdown: Shutdown) -> Result<(), BoxError> {
    let guard = Guard::new(PolicyDocument::new("the policy", POLICY)?)?;
    guard.follow(&shutdown)?;
    let orders = Router::new().route("/orders", get(async || "no orders"));
    let orders = guard.protect(orders).await?;

    // A store of its own: whoever looks at trouble takes no connection from those who have it.
    let store = Store::open(Config::sqlite("mounted.db")).await?;
    let options = ApiOptions::new().guard(&guard, "orders");
    let api = Api::open(&store, options).await?;

    let app = orders.merge(api.router("/ops").await?);
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    guard.serve(listener, app).await;
    api.finish().await;
    store.close().await;
    Ok(())
}
