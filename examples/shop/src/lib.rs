//! A small shop on steadfast: each file shows one idea.
//!
//! - [`edge`]: every request is a scope; a panic becomes a clean answer with a trace id.
//! - [`orders`]: what was begun is undone in every way out.
//! - [`recommendations`]: a bug that costs one answer, not the process.
//! - [`statements`]: slow work whose client may leave.
#![forbid(unsafe_code)]

pub mod edge;
pub mod orders;
pub mod recommendations;
pub mod statements;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};

/// Builds the shop's routes, each request in a scope of its own.
pub fn router() -> Router {
    Router::new()
        .route("/orders", post(orders::create))
        .route("/recommendations/{customer}", get(recommendations::list))
        .route("/statements", get(statements::render))
        .route_layer(from_fn(edge::in_scope))
}
