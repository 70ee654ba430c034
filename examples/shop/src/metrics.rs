//! What a Prometheus scrapes. It does not stand behind the guard, so that it answers while the shop
//! is full. This shop is for one machine; a real one serves its numbers on a listener of its own,
//! which no customer reaches.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use steadfast::report::{self, prometheus};

/// Tells everything that is known of this process.
pub async fn tell() -> impl IntoResponse {
    let text = prometheus::text(&report::snapshot());
    ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], text)
}
