//! Slow work whose client may leave: what it holds is given back all the same, in order.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use steadfast::clock::sleep;
use steadfast::{ScopeError, scope};

/// `GET /statements`: takes four seconds, with a working file and a slot of the renderer.
pub async fn render() -> Response {
    let ended = scope("render_statement")
        .on_report(|report| tracing::info!(target: "shop", "{report}"))
        .run(async |s| {
            s.defer_async("delete the working file", async || {
                sleep(Duration::from_millis(50)).await;
            });
            s.defer("give the slot back", || {});
            sleep(Duration::from_secs(4)).await;
            Ok("your statement: all is well\n")
        })
        .await;
    match ended {
        Ok(statement) => statement.into_response(),
        Err(ScopeError::Panicked(panic)) => panic.resume(),
        Err(error) => error.to_string().into_response(),
    }
}
