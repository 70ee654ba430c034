//! Every request is a scope: it has a trace id, its panics become answers, and it is told apart
//! whether it ended or its client left.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use steadfast::context::TraceId;
use steadfast::{Cause, Context, ScopeError, cancel, scope};

/// The middleware around all routes.
pub async fn in_scope(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("unmatched".to_owned(), |route| route.as_str().to_owned());
    let id = TraceId::random();
    let context = Context::new().with_trace_id(id).with_route(route.clone());
    let answer = scope(route).run(async |_| Ok(next.run(request).await));
    // The server drops the future of a request when its client leaves, and at no other time.
    let answer = cancel::if_dropped(Cause::ClientGone, context.wrap(answer)).await;
    let mut response = answer.unwrap_or_else(|error| problem(id, &error));
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

/// Answers for a handler that did not: the client learns the id, and nothing of the inside.
fn problem(id: TraceId, error: &ScopeError<steadfast::BoxError>) -> Response {
    let status = match error {
        ScopeError::Cancelled(cause) if cause.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "trace_id": id.to_string(),
    });
    let json = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, json, body.to_string()).into_response()
}
