//! A small shop on steadfast: each file shows one idea.
//!
//! - [`edge`]: in front of every handler stands the guard, told by `policy.toml`.
//! - [`books`]: what belongs together is one transaction.
//! - [`orders`]: what was begun is undone in every way out.
//! - [`events`]: an answer that does not end by itself.
//! - [`payments`]: a call to a service that may be slow or gone.
//! - [`recommendations`]: a bug that costs one answer, not the process.
//! - [`catalogue`]: what is good to have, and waits for the orders.
//! - [`database`]: what there is not enough of.
//! - [`statements`]: slow work whose client may leave.
//! - [`metrics`]: what a Prometheus scrapes.
//! - [`work`]: what is done after the answer, whatever dies on the way.
//! - [`gateway`]: somebody else's service, to be made slow or failing.
//!
//! With the feature `drill` there are `faults`, which hurt all of it on purpose, and `unprotected`, the same
//! shop made of the usual parts, to be compared with.
#![forbid(unsafe_code)]

pub mod books;
pub mod catalogue;
pub mod database;
pub mod edge;
pub mod events;
#[cfg(feature = "drill")]
pub mod faults;
pub mod gateway;
pub mod metrics;
pub mod orders;
pub mod payments;
pub mod recommendations;
pub mod statements;
#[cfg(feature = "drill")]
pub mod unprotected;
pub mod work;

use std::path::Path;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use steadfast::BoxError;
use steadfast::jobs::Worker;
use steadfast::tower::Guard;

use books::Books;
use payments::Payments;

/// The shop, ready to be served.
pub struct Shop {
    /// What stands in front of it.
    pub guard: Guard,
    /// Its routes, behind that.
    pub routes: Router,
    /// Its books, to look at.
    pub books: Books,
    /// What does its work; nothing is done until it is started.
    pub worker: Worker,
}

/// Makes the shop, which pays through the gateway at `gateway` and has its books in `folder`.
///
/// # Errors
/// When the guard cannot be armed, because the policy has mistakes or does not fit the routes, or
/// when the books cannot be opened.
pub async fn open(gateway: impl std::fmt::Display, folder: &Path) -> Result<Shop, BoxError> {
    let guard = edge::guard()?;
    let payments = Payments::new(&guard, gateway)?;
    let books = Books::open(folder).await?;
    let worker = work::worker(&books, &payments).await?;
    let routes = serve(&guard, payments, &books).await?;
    Ok(Shop {
        guard,
        routes,
        books,
        worker,
    })
}

/// Makes what the shop serves, without what is done after the answer.
///
/// # Errors
/// When the policy does not fit the routes.
pub async fn serve(guard: &Guard, payments: Payments, books: &Books) -> Result<Router, BoxError> {
    let parts = Parts {
        payments,
        books: books.clone(),
    };
    let routes = routes(parts);
    #[cfg(feature = "drill")]
    let routes = faults::around(routes);
    let routes = edge::protect(guard, routes).await?;
    // Not a request of the shop's, on purpose: it is asked when nothing else answers.
    let metrics = Router::new().route("/metrics", get(metrics::tell));
    Ok(routes.merge(metrics.layer(guard.exempt())))
}

/// What handlers ask for.
#[derive(Clone)]
struct Parts {
    payments: Payments,
    books: Books,
}

impl FromRef<Parts> for Payments {
    fn from_ref(parts: &Parts) -> Self {
        parts.payments.clone()
    }
}

impl FromRef<Parts> for Books {
    fn from_ref(parts: &Parts) -> Self {
        parts.books.clone()
    }
}

fn routes(parts: Parts) -> Router {
    Router::new()
        .route("/orders", post(orders::create))
        .route("/orders/{order}/events", get(events::follow))
        .route("/payments", post(payments::pay))
        .route("/catalogue", get(catalogue::list))
        .route("/recommendations/{customer}", get(recommendations::list))
        .route("/statements", get(statements::render))
        .with_state(parts)
}
