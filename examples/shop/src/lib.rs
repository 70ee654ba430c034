//! A small shop on steadfast: each file shows one idea.
//!
//! - [`edge`]: in front of every handler stands the guard, told by `policy.toml`.
//! - [`orders`]: what was begun is undone in every way out.
//! - [`events`]: an answer that does not end by itself.
//! - [`payments`]: a call to a service that may be slow or gone.
//! - [`recommendations`]: a bug that costs one answer, not the process.
//! - [`catalogue`]: what is good to have, and waits for the orders.
//! - [`statements`]: slow work whose client may leave.
//! - [`metrics`]: what a Prometheus scrapes.
//! - [`gateway`]: somebody else's service, to be made slow or failing.
#![forbid(unsafe_code)]

pub mod catalogue;
pub mod edge;
pub mod events;
pub mod gateway;
pub mod metrics;
pub mod orders;
pub mod payments;
pub mod recommendations;
pub mod statements;

use axum::Router;
use axum::routing::{get, post};
use steadfast::BoxError;
use steadfast::tower::Guard;

use payments::Payments;

/// The shop, ready to be served.
pub struct Shop {
    /// What stands in front of it.
    pub guard: Guard,
    /// Its routes, behind that.
    pub routes: Router,
}

/// Makes the shop, which pays through the gateway at `gateway`.
///
/// # Errors
/// When the guard cannot be armed: the policy has mistakes, or does not fit the routes.
pub async fn open(gateway: impl std::fmt::Display) -> Result<Shop, BoxError> {
    let guard = edge::guard()?;
    let payments = Payments::new(&guard, gateway)?;
    let routes = edge::protect(&guard, routes(payments)).await?;
    // Not a request of the shop's, on purpose: it is asked when nothing else answers.
    let metrics = Router::new().route("/metrics", get(metrics::tell));
    let routes = routes.merge(metrics.layer(guard.exempt()));
    Ok(Shop { guard, routes })
}

fn routes(payments: Payments) -> Router {
    Router::new()
        .route("/orders", post(orders::create))
        .route("/orders/{order}/events", get(events::follow))
        .route("/payments", post(payments::pay))
        .route("/catalogue", get(catalogue::list))
        .route("/recommendations/{customer}", get(recommendations::list))
        .route("/statements", get(statements::render))
        .with_state(payments)
}
