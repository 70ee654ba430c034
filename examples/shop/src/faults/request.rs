//! What becomes of a request that meets a fault.

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

use super::broken::Broken;
use super::fault::Fault;
use super::force::{hold_up, is_guarded, meet, panic};
use crate::unprotected;

/// Puts the faults around handlers, behind whatever guards them.
pub fn around<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes.route_layer(from_fn(suffer))
}

async fn suffer(request: Request, next: Next) -> Response {
    let template = request.extensions().get::<MatchedPath>();
    let at = template.map(|template| format!("{} {}", request.method(), template.as_str()));
    let Some((fault, until)) = at.and_then(|at| meet(&at)) else {
        return next.run(request).await;
    };
    hold_up(fault, until).await;
    match fault {
        Fault::Error => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fault::PanicHandler => panic("the handler panics"),
        Fault::PanicTask => {
            start(async { panic("a task panics") });
            next.run(request).await
        }
        Fault::PanicBody => Body::new(Broken::panicking()).into_response(),
        Fault::Drop => Body::new(Broken::dropped()).into_response(),
        Fault::Latency { .. } | Fault::Hang | Fault::Cpu { .. } => next.run(request).await,
    }
}

/// Starts a task that nobody waits for, as the shop does: ours are seen when they panic.
fn start(task: impl Future<Output = ()> + Send + 'static) {
    match is_guarded() {
        true => drop(steadfast::spawn("task of a handler", task)),
        false => unprotected::start(task),
    }
}
